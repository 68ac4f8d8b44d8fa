// Talks to the server that this page came from.

/** What was not done, by the server or on the way to it; the message is for people. */
class Refusal extends Error {
  /** @param retryAfter seconds, or null. */
  constructor(code, message, { retryAfter = null, requestId = '' } = {}) {
    super(message);
    Object.assign(this, { code, retryAfter, requestId });
  }

  get busy() {
    return ['queue_full', 'too_many_requests', 'shutting_down'].includes(this.code);
  }
}

class Service {
  constructor() {
    this.token = '';
  }

  /** {default, models}: see GET /v1/models. */
  async models() {
    return (await this.ask('v1/models', {})).json();
  }

  /**
   * What a model makes of a recording.
   * @param onstart called with {sampleRate, samples, model, warning} as soon as the answer begins.
   * @param onsamples called with each Float32Array of samples as it comes.
   * @returns {samples, firstMs, allMs, stages}: times in this page from the request on, those of the server by name.
   */
  async resynthesise(recording, { model, speaker, streamed, signal, onstart, onsamples }) {
    const query = new URLSearchParams({ model, format: 'float32', stream: streamed ? '1' : '0', resample: '1', mono: '1' });
    if (speaker !== null) query.set('speaker', speaker);
    const began = performance.now();
    const response = await this.ask(`v1/copy-synthesis?${query}`, { method: 'POST', body: recording, signal });
    const header = name => response.headers.get(name), expected = Number(header('X-Samples'));
    const warning = ['X-Recording-Warning', 'X-Mel-Warning'].map(header).filter(Boolean).join('; ') || null;
    await onstart({ sampleRate: Number(header('X-Sample-Rate')), samples: expected, model: header('X-Model'), warning });
    const samples = new Float32Array(expected);
    let placed = 0, firstMs = null;
    for await (const piece of floatsOf(response, () => `after ${placed} of ${expected} samples`)) {
      firstMs ??= performance.now() - began;
      samples.set(piece.subarray(0, Math.max(0, expected - placed)), placed);
      placed += piece.length;
      onsamples(piece);
    }
    if (placed !== expected) throw new Refusal('cut_off', `The answer has ${placed} samples and should have ${expected}.`);
    return { samples, firstMs, allMs: performance.now() - began, stages: stagesOf(header('Server-Timing') ?? '') };
  }

  /**
   * What a voice makes of a text, streamed.
   * @param onstart called with the sample rate as soon as the answer begins.
   * @param onsamples called with each Float32Array of samples as it comes, and when the first came.
   * @returns {seconds, firstMs, allMs}: length of the audio, and times in this page from the request on.
   */
  async speak(text, { voice, speaker, speed, signal, onstart, onsamples }) {
    const asked = { input: text, voice: speaker === null ? voice : `${voice}/${speaker}`, speed, response_format: 'float32' };
    const began = performance.now(), body = new Blob([JSON.stringify(asked)], { type: 'application/json' });
    const response = await this.ask('v1/audio/speech', { method: 'POST', body, signal });
    const rate = Number(response.headers.get('X-Sample-Rate'));
    let placed = 0, firstMs = null;
    onstart(rate);
    for await (const piece of floatsOf(response, () => `after ${(placed / rate).toFixed(2)} s of audio`)) {
      firstMs ??= performance.now() - began;
      placed += piece.length;
      onsamples(piece, firstMs);
    }
    return { seconds: placed / rate, firstMs, allMs: performance.now() - began };
  }

  async ask(path, options) {
    const headers = this.token ? { Authorization: `Bearer ${this.token}` } : {};
    let response;
    try {
      response = await fetch(path, { ...options, headers, cache: 'no-store', redirect: 'error' });
    } catch (error) {
      throw interrupted(error, 'before it answered');
    }
    if (!response.ok) throw await refusalOf(response);
    return response;
  }
}

/** The samples of an answer as they come; `when` tells how far it came if the connection breaks. */
async function* floatsOf(response, when) {
  const floats = new FloatJoiner(), reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read().catch(error => { throw interrupted(error, when()); });
    if (done) return;
    const piece = floats.join(value);
    if (piece.length) yield piece;
  }
}

/** Floats of bytes that come in pieces of any length. */
class FloatJoiner {
  constructor() {
    this.rest = new Uint8Array(0);
  }

  join(bytes) {
    const all = new Uint8Array(this.rest.length + bytes.length);
    all.set(this.rest);
    all.set(bytes, this.rest.length);
    const whole = all.length - all.length % 4;
    this.rest = all.slice(whole);
    // The server's floats are little-endian, as every machine is that runs a browser.
    return new Float32Array(all.buffer, 0, whole / 4);
  }
}

function interrupted(error, when) {
  if (error.name === 'AbortError') return error;
  return new Refusal('unreachable', `The server cannot be reached; the connection ended ${when}. Is it still running?`);
}

async function refusalOf(response) {
  const told = (await response.json().catch(() => null))?.error;
  const retryAfter = Number(response.headers.get('Retry-After')) || null;
  const message = told?.message ?? `The server answered with status ${response.status}.`;
  return new Refusal(told?.code ?? 'unknown', message, { retryAfter, requestId: told?.request_id ?? '' });
}

/** {name: milliseconds} of a Server-Timing header. */
function stagesOf(header) {
  return Object.fromEntries([...header.matchAll(/([\w-]+);dur=([\d.]+)/g)].map(([, name, milliseconds]) => [name, Number(milliseconds)]));
}
