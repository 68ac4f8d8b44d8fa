// One clip at a time: its sound, its pictures, its metrics.

const DATA = JSON.parse(document.getElementById('data').textContent), NAMES = DATA.tracks;
const byId = id => document.getElementById(id);
const element = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};
const svgElement = (name, attributes) => {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};
// Of the brightest colour at least: 48 dB below a sine of full scale, so that silence looks silent.
const LEAST_LOUD_DB = 0;
const DASHES = ['', '7 4', '2 4', '9 3 2 3'];
let current = -1, radios = [], opening = 0;
const waiting = new Map();

const sound = new Transport(DATA.sampleRate, showState);

/** Scripts beside the page call this with what they hold. */
window.hifiganClip = (name, payload) => waiting.get(name)?.(payload);

function payloadOf(index) {
  const embedded = byId(`clip-${index}`);
  if (embedded) return Promise.resolve(JSON.parse(embedded.textContent));
  const source = DATA.clips[index].script, name = source.replace(/^.*\/|\.js$/g, '');
  return new Promise((resolve, reject) => {
    const script = element('script', { src: source });
    waiting.set(name, payload => resolve(payload));
    script.onerror = () => reject(new Error(`${source} is not beside this page: the sound of this clip is in that file`));
    script.onload = () => script.remove();
    document.head.append(script);
  });
}

/** Decoded at its own rate; a context that never plays needs no gesture of the reader. */
const decode = flac => new OfflineAudioContext(1, 1, DATA.sampleRate).decodeAudioData(bytesOf(flac));

async function open(index, { track = null, focus = false } = {}) {
  const mine = ++opening, clip = DATA.clips[index];
  current = index;
  sound.load([]);
  byId('clip-name').textContent = clip.name;
  byId('clip-name').title = clip.name;
  byId('message').textContent = '';
  byId('clip-notes').replaceChildren(...clip.notes.map(note => element('li', { textContent: note })));
  showMetrics(index);
  for (const row of body.rows) row.classList.toggle('current', Number(row.dataset.clip) === index);
  if (focus) {
    byId('listen-title').focus({ preventScroll: true });
    byId('listen').scrollIntoView();
  }
  let payload, buffers;
  try {
    payload = await payloadOf(index);
    buffers = await Promise.all(payload.tracks.map(entry => entry.flac ? decode(entry.flac) : null));
  } catch (error) {
    payload = { tracks: NAMES.map(() => ({})) };
    buffers = NAMES.map(() => null);
    if (mine === opening) byId('message').textContent = error.message;
  }
  if (mine !== opening) return;
  const wanted = track ?? sound.audible, first = buffers.findIndex(Boolean);
  showTracks(buffers, payload.tracks, buffers[wanted] ? wanted : Math.max(0, first));
  sound.load(buffers);
  showPictures(buffers, payload.tracks);
  byId('listen').dataset.ready = index;
}

function showTracks(buffers, entries, chosen) {
  const legend = byId('tracks').querySelector('legend');
  radios = NAMES.map((name, index) => {
    const radio = element('input', { type: 'radio', name: 'track', value: index, disabled: !buffers[index], checked: index === chosen });
    radio.addEventListener('change', () => sound.hear(index));
    return radio;
  });
  byId('tracks').replaceChildren(legend, ...radios.map((radio, index) => {
    const key = index < 9 ? [element('kbd', { textContent: index + 1 })] : [];
    return element('label', { className: 'track', title: entries[index].problem || NAMES[index] }, radio, ...key, element('span', { textContent: NAMES[index] }));
  }));
  sound.hear(chosen);
}

function showState() {
  const duration = sound.duration, position = sound.position, slider = byId('position');
  byId('play').textContent = sound.playing ? 'Stop' : 'Play';
  byId('play').setAttribute('aria-pressed', sound.playing);
  byId('play').disabled = slider.disabled = !duration;
  slider.max = duration || 1;
  slider.value = position;
  slider.setAttribute('aria-valuetext', `${position.toFixed(1)} of ${duration.toFixed(1)} seconds`);
  byId('time').textContent = `${position.toFixed(2)} / ${duration.toFixed(2)} s`;
  const plot = document.querySelector('.plot'), playhead = byId('playhead');
  playhead.style.display = plot && position ? 'block' : 'none';
  if (plot) playhead.style.left = `${plot.offsetLeft + position / (duration || 1) * plot.clientWidth}px`;
  for (const picture of document.querySelectorAll('.picture')) picture.classList.toggle('audible', Number(picture.dataset.track) === sound.audible);
  if (sound.playing) requestAnimationFrame(showState);
}

function showMetrics(index) {
  const rows = [...body.rows].filter(row => Number(row.dataset.clip) === index).sort((a, b) => a.dataset.system - b.dataset.system);
  const metrics = heads.filter(head => head.dataset.metric), part = byId('clip-metrics');
  const titles = rows.map(row => element('th', { scope: 'col', className: 'value' }, element('span', { className: 'system-name', textContent: NAMES[Number(row.dataset.system) + 1] })));
  part.tHead.replaceChildren(element('tr', {}, element('th', { scope: 'col', textContent: 'Metric' }), ...titles));
  part.tBodies[0].replaceChildren(...metrics.map(head => {
    const column = heads.indexOf(head);
    const cells = rows.map(row => {
      const cell = row.cells[column];
      return element('td', { className: 'value' }, cell.textContent, ...(cell.title ? [element('small', { textContent: cell.title })] : []));
    });
    const title = element('th', { scope: 'row' });
    title.append(...[...head.querySelector('button').childNodes].map(node => node.cloneNode(true)));
    return element('tr', {}, title, ...cells);
  }));
}

/** A titled area on the common time axis; a click in it goes to that moment. */
function picture(title, label, track, marks) {
  const plot = element('div', { className: 'plot', role: 'img', ariaLabel: label });
  for (const [share, text] of marks) plot.append(element('span', { className: 'mark', textContent: text, style: `top:${(100 * (1 - share)).toFixed(1)}%` }));
  plot.addEventListener('click', event => sound.seek((event.offsetX / plot.clientWidth) * sound.duration));
  const whole = element('div', { className: 'picture' }, element('h3', { textContent: title, title }), plot);
  if (track !== null) whole.dataset.track = track;
  return [whole, plot];
}

function showPictures(buffers, entries) {
  const place = byId('pictures'), duration = sound.duration, found = buffers.map((buffer, index) => buffer ? index : -1).filter(index => index >= 0);
  place.querySelectorAll('.picture, .times').forEach(old => old.remove());
  if (!found.length) return;
  const length = Math.round(duration * DATA.sampleRate), columns = Math.max(16, Math.min(MAX_COLUMNS, Math.ceil(length / 64)));
  const marks = frequencyMarks(DATA.sampleRate);
  const decibels = buffers.map(buffer => buffer && spectrogram(buffer.getChannelData(0), length, columns, DATA.sampleRate));
  const loudest = decibels[found[0]].reduce((a, b) => Math.max(a, b), LEAST_LOUD_DB), floor = loudest - RANGE_DB;
  const parts = [], area = (title, label, track, values, low, high, colours) => {
    const [whole, plot] = picture(title, label, track, marks), canvas = element('canvas');
    paint(canvas, values, columns, low, high, colours);
    plot.append(canvas);
    parts.push(whole);
  };
  for (const index of found) area(NAMES[index], `Spectrogram of ${NAMES[index]}`, index, decibels[index], floor, loudest, LOUDNESS);
  if (decibels[0]) {
    for (const index of found.slice(1)) {
      area(`${NAMES[index]} minus recording: orange has more, blue less, up to ${DIFFERENCE_DB} dB`, `Difference of the spectrograms, ${NAMES[index]} minus recording`,
        null, difference(decibels[0], decibels[index], floor), -DIFFERENCE_DB, DIFFERENCE_DB, CHANGE);
    }
  }
  const pitch = pitchPicture(found, entries, duration);
  if (pitch) parts.push(pitch);
  place.append(...parts, timeAxis(duration));
  showState();
}

/** F0 of all signals in one picture, on a logarithmic scale. */
function pitchPicture(found, entries, duration) {
  const { floor, ceil, frameSeconds } = DATA.f0, span = Math.log2(ceil / floor);
  const contours = found.map(index => [index, Array.from(atob(entries[index].f0 || ''), character => character.charCodeAt(0)).map(step => step ? (step - 1) / 254 * span : null)]);
  const octaves = contours.flatMap(([, contour]) => contour.filter(value => value !== null));
  if (!octaves.length) return null;
  const low = octaves.reduce((a, b) => Math.min(a, b)) - 0.15, high = octaves.reduce((a, b) => Math.max(a, b)) + 0.15;
  const share = octave => (octave - low) / (high - low);
  const marks = [50, 70, 100, 140, 200, 280, 400, 550].map(hz => [share(Math.log2(hz / floor)), `${hz} Hz`]).filter(([place]) => place > 0.02 && place < 0.98);
  const [whole, plot] = picture('Pitch (F0)', `Pitch contours of ${found.map(index => NAMES[index]).join(', ')}`, null, marks);
  plot.classList.add('pitch');
  const drawing = svgElement('svg', { viewBox: '0 0 1000 100', preserveAspectRatio: 'none', 'aria-hidden': 'true' });
  for (const [place] of marks) drawing.append(svgElement('line', { x1: 0, x2: 1000, y1: 100 * (1 - place), y2: 100 * (1 - place) }));
  const legend = element('div', { className: 'f0-legend' });
  for (const [index, contour] of contours) {
    let path = '', pen = false;
    contour.forEach((octave, frame) => {
      if (octave !== null) path += `${pen ? 'L' : 'M'}${(1000 * frame * frameSeconds / duration).toFixed(1)} ${(100 * (1 - share(octave))).toFixed(1)}`;
      pen = octave !== null;
    });
    const look = { class: index ? `s${(index - 1) % 8}` : 'recording', 'stroke-dasharray': index ? DASHES[(index - 1) % DASHES.length] : '' };
    drawing.append(svgElement('path', { d: path, ...look }));
    const sample = svgElement('svg', { viewBox: '0 0 30 10', 'aria-hidden': 'true' });
    sample.append(svgElement('path', { d: 'M1 5H29', ...look }));
    legend.append(element('span', {}, sample, ` ${NAMES[index]}`));
  }
  plot.append(drawing);
  plot.before(legend);
  return whole;
}

function timeAxis(duration) {
  const marks = timeMarks(duration).map(([share, text]) => element('span', { textContent: text, style: `left:${100 * share}%` }));
  return element('div', { className: 'times', ariaHidden: 'true' }, ...marks);
}

/** The clip after or before this one, in the order that the table shows. */
function step(by) {
  const order = [...new Set([...body.rows].filter(row => !row.hidden).map(row => Number(row.dataset.clip)))];
  const clips = order.length ? order : DATA.clips.map((_, index) => index), place = clips.indexOf(current);
  if (clips.length) open(clips[(place + by + clips.length) % clips.length]);
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches('input[type=search], select')) return;
  const native = event.target.matches('button, summary, a[href], input[type=checkbox]'), digit = Number(event.key);
  if (event.key === ' ' && !native) sound.toggle();
  else if (digit >= 1 && digit <= radios.length && !radios[digit - 1].disabled) {
    radios[digit - 1].checked = true;
    sound.hear(digit - 1);
  } else if ((event.key === 'ArrowLeft' || event.key === 'ArrowRight') && !event.target.matches('input, .scroll')) sound.seek(sound.position + (event.key === 'ArrowLeft' ? -1 : 1));
  else if (event.key === 'n' || event.key === 'p') step(event.key === 'n' ? 1 : -1);
  else if (event.key === '/') filterBox.focus();
  else return;
  event.preventDefault();
}

body.addEventListener('click', event => {
  const row = event.target.closest('tr');
  if (row) open(Number(row.dataset.clip), { track: Number(row.dataset.system) + 1, focus: true });
});
for (const button of document.querySelectorAll('[data-open]')) {
  button.addEventListener('click', () => open(DATA.clips.findIndex(clip => clip.name === button.dataset.open), { track: Number(button.dataset.track), focus: true }));
}
byId('play').addEventListener('click', () => sound.toggle());
byId('position').addEventListener('input', event => sound.seek(Number(event.target.value)));
byId('loop').addEventListener('change', event => sound.repeat(event.target.checked));
byId('previous').addEventListener('click', () => step(-1));
byId('next').addEventListener('click', () => step(1));
document.addEventListener('keydown', onKey);
window.addEventListener('resize', showState);
if (DATA.clips.length) open(0);
else showState();
