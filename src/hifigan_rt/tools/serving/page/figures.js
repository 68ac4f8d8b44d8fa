// The table of speed.

const milliseconds = value => value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(2)} s`;
const timesRealTime = (seconds, ms) => `${(1000 * seconds / ms).toFixed(1)} × real time`;

function setFigure(name, text) {
  document.querySelector(`[data-figure=${name}]`).textContent = text;
}

function clearFigures() {
  for (const cell of document.querySelectorAll('[data-figure]')) cell.textContent = '–';
}

/** Show what a resynthesis of `seconds` of audio took. */
function showFigures({ firstMs, allMs, stages }, seconds, streamed) {
  const way = streamed ? 'streamed' : 'whole', server = streamed ? stages['first-audio'] : stages.compute;
  setFigure(`${way}-first`, milliseconds(firstMs));
  setFigure(`${way}-speed`, `${timesRealTime(seconds, allMs)}`);
  if (server !== undefined) setFigure(`${way}-server`, milliseconds(server));
  if (!streamed && stages.compute) setFigure('whole-computing', timesRealTime(seconds, stages.compute));
}

/** Show how a stream was played. */
function showBuffering(player) {
  const gaps = player.gaps === 0 ? 'no gaps' : player.gaps === 1 ? '1 gap' : `${player.gaps} gaps`;
  const least = Number.isFinite(player.least) ? `${Math.max(0, player.least).toFixed(2)} s, ` : '';
  setFigure('streamed-buffered', least + gaps);
}
