// Recordings: from files and the microphone to samples, and from samples to WAV.

const MAX_RECORDING_SECONDS = 300;

/** Something about a recording, or the microphone, that its owner can put right. */
class RecordingError extends Error {}

/** Mono samples of a file's bytes at `sampleRate`, by the browser's own decoder. */
async function decodeRecording(blob, sampleRate) {
  if (!blob.size) throw new RecordingError('This file is empty.');
  let buffer;
  try {
    buffer = await new OfflineAudioContext(1, 1, sampleRate).decodeAudioData(await blob.arrayBuffer());
  } catch {
    throw new RecordingError('This is no audio that your browser can decode. WAV, FLAC, MP3 and Ogg work in most.');
  }
  if (!buffer.length) throw new RecordingError('There is no sound in this file.');
  const mono = buffer.getChannelData(0).slice();
  for (let channel = 1; channel < buffer.numberOfChannels; channel++) {
    const other = buffer.getChannelData(channel);
    for (let i = 0; i < mono.length; i++) mono[i] += other[i];
  }
  if (buffer.numberOfChannels > 1) for (let i = 0; i < mono.length; i++) mono[i] /= buffer.numberOfChannels;
  return mono;
}

function peakOf(samples) {
  let peak = 0;
  for (const value of samples) peak = Math.max(peak, Math.abs(value));
  return peak;
}

/** A mono WAV: 32-bit floats, which change nothing, or 16-bit integers, which everything plays. */
function wavOf(samples, sampleRate, bits) {
  const width = bits / 8, bytes = samples.length * width, view = new DataView(new ArrayBuffer(44 + bytes));
  const text = (place, letters) => [...letters].forEach((letter, i) => view.setUint8(place + i, letter.charCodeAt(0)));
  text(0, 'RIFF');
  view.setUint32(4, 36 + bytes, true);
  text(8, 'WAVEfmt ');
  view.setUint32(16, 16, true);
  view.setUint16(20, bits === 32 ? 3 : 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, sampleRate, true);
  view.setUint32(28, sampleRate * width, true);
  view.setUint16(32, width, true);
  view.setUint16(34, bits, true);
  text(36, 'data');
  view.setUint32(40, bytes, true);
  for (let i = 0; i < samples.length; i++) {
    if (bits === 32) view.setFloat32(44 + 4 * i, samples[i], true);
    else view.setInt16(44 + 2 * i, Math.max(-32768, Math.min(32767, Math.round(samples[i] * 32768))), true);
  }
  return new Blob([view.buffer], { type: 'audio/wav' });
}

const MICROPHONE_TROUBLE = {
  NotAllowedError: 'The microphone was refused. Allow it for this page in the browser’s settings, then press Record again.',
  NotFoundError: 'No microphone was found.',
  NotReadableError: 'The microphone cannot be opened: another program may be using it.',
};

/** Records what the microphone hears, untouched by the browser's improvements for calls. */
class Microphone {
  /** Begin; asks the user the first time. */
  async start() {
    if (!navigator.mediaDevices?.getUserMedia || !window.MediaRecorder) {
      throw new RecordingError('Browsers let pages record over https or from this machine itself only. Choose a file instead.');
    }
    const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: plain });
    } catch (error) {
      throw new RecordingError(MICROPHONE_TROUBLE[error.name] ?? `The microphone cannot be used: ${error.message}`);
    }
    const pieces = [];
    this.stream = stream;
    this.recorder = new MediaRecorder(stream);
    this.recorder.ondataavailable = ({ data }) => pieces.push(data);
    this.done = new Promise(resolve => {
      this.recorder.onstop = () => resolve(new Blob(pieces, { type: this.recorder.mimeType }));
    });
    this.recorder.start();
    this.began = performance.now();
  }

  get seconds() {
    return (performance.now() - this.began) / 1000;
  }

  /** End, and give what was recorded. */
  stop() {
    if (this.recorder.state !== 'inactive') this.recorder.stop();
    for (const track of this.stream.getTracks()) track.stop();
    return this.done;
  }
}
