// What the page does: takes a recording, has it resynthesised, and plays both.

const byId = id => document.getElementById(id);
const FALLBACK_RATE = 22050, SILENT_PEAK = 0.003;

const service = new Service(), microphone = new Microphone();
const pictures = new Pictures(byId('pictures'), share => sound.seek(share * sound.duration));
const speech = new Speech(service, byId('speech'), {
  onstart: () => {
    sound.player?.pause();
    endStreaming();
  },
  onrefused: error => {
    if (error.code === 'unauthorized') askForToken(error);
    return error.code === 'unauthorized';
  },
});
const radios = [...document.querySelectorAll('[name=heard]')];
let models = [];
/** {name, blob, samples, sampleRate} of what was chosen or recorded; samples are what is uploaded and heard. */
let recording = null;
/** {samples, sampleRate, model} of what came back, whole. */
let resynthesis = null;
let sound = new Transport(FALLBACK_RATE, show);
let streaming = null, job = null, retrying = null, recordingTimer = null, adoptions = 0;

function say(text) {
  byId('status').textContent = text;
}

const bufferOf = (samples, sampleRate) => {
  const buffer = new AudioBuffer({ length: samples.length, sampleRate });
  buffer.copyToChannel(samples, 0);
  return buffer;
};

/* What shows ------------------------------------------------------------------------------------------------------- */

function show() {
  const live = streaming && !streaming.stopped, playing = live || sound.playing;
  const duration = live ? pictures.seconds : sound.duration, position = live && streaming.first !== null ? streaming.position : sound.position;
  byId('play').textContent = live ? 'Stop' : playing ? 'Pause' : 'Play';
  byId('play').disabled = !duration;
  byId('position').disabled = live || !duration;
  byId('position').max = duration || 1;
  byId('position').value = position;
  byId('position').setAttribute('aria-valuetext', `${position.toFixed(1)} of ${duration.toFixed(1)} seconds`);
  byId('time').textContent = `${position.toFixed(2)} / ${duration.toFixed(2)} s`;
  radios[0].disabled = live;
  radios[1].disabled = !resynthesis && !live;
  radios[sound.audible].checked = true;
  byId('download').disabled = !resynthesis;
  byId('stream').disabled = !recording;
  pictures.follow(duration ? position / duration : 0, sound.audible);
  byId('buffered').hidden = !live;
  if (live) byId('buffered').textContent = `Playing while it is computed: ${streaming.buffered.toFixed(2)} s buffered, ${streaming.gaps || 'no'} gaps`;
  if (live && streaming.finished) endStreaming();
  else if (playing) requestAnimationFrame(show);
}

function working(text, { share = null } = {}) {
  const busy = text !== null;
  if (!busy) letGoOf(byId('cancel'));
  byId('progress').hidden = byId('cancel').hidden = !busy;
  if (!busy) return;
  say(text);
  if (share === null) byId('progress').removeAttribute('value');
  else byId('progress').value = share;
}

function fail(error) {
  say('');
  if (error.code === 'unauthorized') {
    askForToken(error);
    return;
  }
  byId('failure').textContent = toldOf(error, 'recording');
  byId('failure').hidden = false;
  const again = error instanceof Refusal && (error.busy || ['unreachable', 'cut_off', 'model_unavailable', 'engine_failed', 'internal', 'deadline_exceeded'].includes(error.code));
  if (again) offerAgain(error.retryAfter ?? 0);
}

/** What an error says about a recording or a text. */
function toldOf(error, what) {
  const lead = error.busy ? 'The server is busy. ' : error.code === 'payload_too_large' ? `This ${what} is too large for the server. ` : '';
  const told = error.message.charAt(0).toUpperCase() + error.message.slice(1);
  const again = what === 'text' && error.retryAfter ? `. Try again in ${error.retryAfter} s` : '';
  return `${lead}${told}${again}${error.requestId ? ` (request ${error.requestId})` : ''}`;
}

/** Let the user try again when the server says that it is worth it. */
function offerAgain(seconds) {
  clearTimeout(retrying);
  byId('retry').hidden = false;
  byId('retry').disabled = seconds > 0;
  byId('retry').textContent = seconds > 0 ? `Try again in ${seconds} s` : 'Try again';
  if (seconds > 0) retrying = setTimeout(() => offerAgain(seconds - 1), 1000);
}

/** A button is about to go: keyboards go on from a place near by. */
function letGoOf(button) {
  if (document.activeElement === button) (byId('listen').hidden ? byId('source-title') : byId('play')).focus();
}

function clearFailure() {
  letGoOf(byId('retry'));
  clearTimeout(retrying);
  byId('failure').hidden = byId('retry').hidden = true;
  byId('failure').textContent = '';
}

/* Models and token --------------------------------------------------------------------------------------------------- */

async function loadModels() {
  const listed = await service.models(), chosen = models.length ? byId('model').value : listed.default;
  models = listed.models.filter(({ takes_text: isVoice }) => !isVoice);
  speech.offer(listed.models.filter(({ takes_text: isVoice }) => isVoice));
  byId('token-form').hidden = true;
  byId('recordings').hidden = !models.length;
  if (!models.length) {
    byId('lead').textContent = 'Give it a text. A voice speaks it, and you hear it while it is computed.';
    byId('skip').textContent = 'To the text';
    byId('skip').href = '#speech-text';
    return;
  }
  byId('model').replaceChildren(...models.map(({ name }) => new Option(name, name, name === listed.default, name === chosen)));
  byId('model').disabled = false;
  showModel();
}

const model = () => models.find(({ name }) => name === byId('model').value);

function showModel() {
  const { engine, precision, sample_rate: rate, state } = model();
  const facts = engine ? `Engine ${engine}, ${precision}, ${rate.toLocaleString('en')} Hz` : 'Loaded when it is first used';
  byId('model-facts').textContent = state === 'failed' ? 'The server could not load this model' : facts;
  showSpeakers();
}

/** Offer the speakers, if there are several: by name, else by number. */
function showSpeakers() {
  fillSpeakers(byId('speakers'), model());
}

/** Fill the list of speakers in `place`, which is not shown without several. */
function fillSpeakers(place, described) {
  const { num_speakers: count = 0, speakers } = described ?? {}, list = place.querySelector('select'), chosen = list.value;
  const names = new Map(Object.entries(speakers ?? {}).map(([name, number]) => [number, name]));
  const options = Array.from({ length: count > 1 ? count : 0 }, (_, number) => new Option(names.get(number) ?? `Number ${number}`, names.get(number) ?? number));
  list.replaceChildren(...options);
  place.hidden = !options.length;
  if (options.some(({ value }) => value === chosen)) list.value = chosen;
}

const speaker = () => byId('speakers').hidden ? null : byId('speaker').value;

function askForToken(error) {
  byId('token-form').hidden = false;
  byId('token-error').textContent = service.token ? 'This token was refused.' : '';
  byId('model-facts').textContent = error.message ? 'Needs a token' : '';
  byId('token').focus();
}

async function useToken(event) {
  event.preventDefault();
  service.token = byId('token').value.trim();
  clearFailure();
  await start();
  if (models.length && recording) await resynthesise({ streamed: false });
}

/* Recordings --------------------------------------------------------------------------------------------------------- */

async function take(blob, name) {
  job?.abort();
  clearFailure();
  endStreaming();
  sound.load([]);
  recording = resynthesis = null;
  byId('listen').hidden = byId('source-facts').hidden = true;
  say('Decoding …');
  try {
    await adopt(blob, name, model()?.sample_rate ?? FALLBACK_RATE);
  } catch (error) {
    fail(error);
    return;
  }
  if (recording?.blob === blob) await retry();
}

/** Decode at a model's rate, and show; the player's clock goes at that rate too. */
async function adopt(blob, name, sampleRate) {
  const mine = ++adoptions, samples = await decodeRecording(blob, sampleRate), peak = peakOf(samples);
  // Another recording was chosen meanwhile.
  if (mine !== adoptions) return;
  if (sampleRate !== sound.sampleRate) {
    sound.clock?.close();
    sound = new Transport(sampleRate, show);
  }
  recording = { name, blob, samples, sampleRate };
  resynthesis = null;
  const facts = [name, `${(samples.length / sampleRate).toFixed(2)} s`, `${sampleRate.toLocaleString('en')} Hz mono`];
  if (peak < SILENT_PEAK) facts.push('almost silent');
  byId('source-facts').textContent = facts.join(' · ');
  byId('listen').hidden = byId('source-facts').hidden = false;
  pictures.showOriginal(samples, samples.length, sampleRate);
  clearFigures();
  sound.load([bufferOf(samples, sampleRate)]);
  sound.hear(0);
}

async function toggleRecording() {
  speech.stop();
  clearFailure();
  if (recordingTimer !== null) {
    clearInterval(recordingTimer);
    recordingTimer = null;
    showRecording(false);
    await take(await microphone.stop(), 'Your recording');
    return;
  }
  sound.player?.pause();
  endStreaming();
  try {
    await microphone.start();
  } catch (error) {
    fail(error);
    return;
  }
  showRecording(true);
  recordingTimer = setInterval(() => {
    byId('record-time').textContent = `${microphone.seconds.toFixed(1)} s`;
    if (microphone.seconds > MAX_RECORDING_SECONDS) toggleRecording();
  }, 100);
}

function showRecording(on) {
  byId('record').textContent = on ? 'Stop recording' : 'Record';
  byId('record').classList.toggle('recording', on);
  byId('record-time').hidden = !on;
  byId('record-time').textContent = '0.0 s';
  if (on) say('Recording. Press the button again to end it.');
}

/* Resynthesis -------------------------------------------------------------------------------------------------------- */

async function resynthesise({ streamed }) {
  speech.stop();
  job?.abort();
  clearFailure();
  endStreaming();
  if (streamed) sound.player?.pause();
  const mine = job = new AbortController();
  resynthesis = null;
  pictures.clearResynthesis();
  show();
  working('Computing …');
  try {
    const result = await request(streamed, mine.signal);
    if (mine !== job) return;
    job = null;
    finish(result, streamed);
  } catch (error) {
    if (mine !== job) return;
    job = null;
    endStreaming();
    if (error.code === 'conditioning_invalid' && !model().engine) {
      // A model that was not loaded yet told nobody its speakers.
      await loadModels().catch(fail);
      if (speaker() !== null) return resynthesise({ streamed });
    }
    if (error.name === 'AbortError') {
      say('Cancelled.');
      offerAgain(0);
    } else fail(error);
  } finally {
    if (job === null) working(null);
    show();
  }
}

async function request(streamed, signal) {
  const { samples, sampleRate } = recording, name = byId('model').value, part = { samples: null, placed: 0, sampleRate, model: name };
  const onstart = async facts => {
    // A model that was not loaded yet told nobody its rate.
    if (facts.sampleRate !== recording.sampleRate) await adopt(recording.blob, recording.name, facts.sampleRate);
    part.samples = new Float32Array(facts.samples);
    part.sampleRate = facts.sampleRate;
    if (streamed) begin(new StreamPlayer(sound.context));
  };
  const onsamples = piece => {
    part.samples.set(piece, part.placed);
    part.placed += piece.length;
    working('Computing …', { share: part.placed / part.samples.length });
    if (!streamed) return;
    streaming?.push(piece);
    pictures.showPart(part.samples.subarray(0, part.placed));
  };
  const times = await service.resynthesise(wavOf(samples, sampleRate, 32), { model: name, speaker: speaker(), streamed, signal, onstart, onsamples });
  return { ...part, ...times };
}

function begin(player) {
  streaming = player;
  sound.context.resume();
  sound.audible = 1;
  say('Streaming.');
  show();
}

function finish(result, streamed) {
  resynthesis = result;
  streaming?.end();
  const seconds = result.samples.length / result.sampleRate;
  sound.load([bufferOf(recording.samples, result.sampleRate), bufferOf(result.samples, result.sampleRate)]);
  pictures.showResynthesis(result.samples);
  showFigures(result, seconds, streamed);
  say(`Done: ${seconds.toFixed(2)} s in ${milliseconds(result.allMs)}.`);
  sound.hear(1);
  if (streamed) handOver();
  if (!model().engine) loadModels().catch(fail);
}

/** All of it is there: from here on the player goes on that can switch. */
function handOver() {
  const player = streaming;
  if (!player || player.stopped) return;
  const { at, place } = player.meeting();
  showBuffering(player);
  // What is left is too short to switch in; it ends by itself.
  if (place > sound.duration - 0.2) return;
  sound.play(Math.max(0, place), place < 0 ? at - place : at);
  player.stop(place < 0 ? at - place : at);
  streaming = null;
}

function endStreaming() {
  if (!streaming) return;
  if (!streaming.stopped) streaming.stop();
  if (resynthesis) showBuffering(streaming);
  streaming = null;
  show();
}

function download() {
  const url = URL.createObjectURL(wavOf(resynthesis.samples, resynthesis.sampleRate, 16));
  const stem = recording.name.replace(/\.[^.]*$/, '').replace(/\s+/g, '-').toLowerCase();
  Object.assign(document.createElement('a'), { href: url, download: `${stem}-${resynthesis.model}.wav` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

async function retry() {
  clearFailure();
  if (!models.length) await start();
  if (models.length && recording) await resynthesise({ streamed: false });
}

function switchHeard() {
  if (byId('listen').hidden || !resynthesis || streaming) return;
  sound.hear(1 - sound.audible);
  byId('spoken').textContent = sound.audible ? 'Resynthesis' : 'Original';
}

async function start() {
  try {
    await loadModels();
    say('');
  } catch (error) {
    fail(error);
  }
}

/* Events ------------------------------------------------------------------------------------------------------------- */

byId('file').addEventListener('change', event => {
  const [file] = event.target.files;
  event.target.value = '';
  if (file) take(file, file.name);
});
byId('record').addEventListener('click', toggleRecording);
byId('model').addEventListener('change', () => {
  showModel();
  if (recording) resynthesise({ streamed: false });
});
byId('speaker').addEventListener('change', () => {
  if (recording) resynthesise({ streamed: false });
});
byId('token-form').addEventListener('submit', useToken);
byId('play').addEventListener('click', () => {
  if (streaming && !streaming.stopped) endStreaming();
  else {
    speech.stop();
    sound.toggle();
  }
});
byId('position').addEventListener('input', event => sound.seek(Number(event.target.value)));
byId('stream').addEventListener('click', () => resynthesise({ streamed: true }));
byId('download').addEventListener('click', download);
byId('cancel').addEventListener('click', () => job?.abort());
byId('retry').addEventListener('click', retry);
for (const radio of radios) radio.addEventListener('change', () => sound.hear(Number(radio.value)));
document.addEventListener('keydown', event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.key.toLowerCase() !== 'x') return;
  if (byId('key-x').checked && !event.target.matches('[type=password], [type=number], textarea, select')) switchHeard();
});
document.addEventListener('dragover', event => {
  event.preventDefault();
  byId('source').classList.add('dropping');
});
document.addEventListener('dragleave', event => {
  if (!event.relatedTarget) byId('source').classList.remove('dropping');
});
document.addEventListener('drop', event => {
  event.preventDefault();
  byId('source').classList.remove('dropping');
  const [file] = event.dataTransfer.files;
  if (file && !byId('recordings').hidden) take(file, file.name);
});
window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
  if (!recording) return;
  pictures.wave(0, recording.samples, 'Waveform of the original');
  if (resynthesis) pictures.showPart(resynthesis.samples);
});
start();
