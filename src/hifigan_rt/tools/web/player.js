"use strict";

/* Plays recordings of one clip in step and lets one of them be heard. All sources start at the same instant of the audio
   clock and stay on; to switch is to move two gains, so the new recording goes on at the very sample. */
class SwitchPlayer {
  /* context: an AudioContext. buffers: {id: AudioBuffer}. loop: begin again at the end. onchange: called when what is
     heard changes. */
  constructor(context, buffers, { loop = false, onchange = () => {} } = {}) {
    this.context = context;
    this.buffers = buffers;
    this.loop = loop;
    this.onchange = onchange;
    this.duration = Math.min(...Object.values(buffers).map((buffer) => buffer.duration));
    this.active = null;
    this.playing = false;
    this.heard = Object.fromEntries(Object.keys(buffers).map((id) => [id, 0]));
    this.offset = 0;
    // How far into the clip the last run came, in seconds.
    this.reached = 0;
    this.voices = {};
  }

  /* Seconds from the start of the clip. */
  get position() {
    if (!this.playing) return this.offset;
    const run = Math.max(0, this.context.currentTime - this.started) + this.offset;
    return this.loop ? run % this.duration : Math.min(run, this.duration);
  }

  /* Begin with recording `id`, at `offset` seconds; `at` says when on the context's clock. */
  play(id, offset = 0, at = this.context.currentTime + 0.02) {
    this.stop();
    this.context.resume();
    this.started = at;
    this.offset = offset;
    this.credited = this.started;
    for (const [name, buffer] of Object.entries(this.buffers)) {
      const source = this.context.createBufferSource();
      const gain = this.context.createGain();
      source.buffer = buffer;
      source.loop = this.loop;
      source.loopEnd = this.duration;
      gain.gain.value = name === id ? 1 : 0;
      source.connect(gain).connect(this.context.destination);
      source.start(this.started, offset);
      this.voices[name] = { source, gain };
    }
    this.active = id;
    this.playing = true;
    if (!this.loop) {
      const { source } = this.voices[id];
      source.onended = () => {
        if (this.voices[id] && this.voices[id].source === source) this.finish();
      };
    }
    this.onchange();
  }

  /* Let `id` be heard, from the very place; begins if nothing plays. */
  select(id) {
    if (!this.playing) {
      this.play(id, this.offset);
      return;
    }
    if (id === this.active) return;
    this.credit();
    const now = this.context.currentTime;
    for (const [name, { gain }] of Object.entries(this.voices)) {
      // A step would click; 8 ms is too short to be heard as a fade.
      gain.gain.cancelScheduledValues(now);
      gain.gain.setValueAtTime(gain.gain.value, now);
      gain.gain.linearRampToValueAtTime(name === id ? 1 : 0, now + 0.008);
    }
    this.active = id;
    this.onchange();
  }

  /* Stop, and begin next time from the start of the clip. */
  stop() {
    if (!this.playing) return;
    this.reached = this.position;
    this.credit();
    this.silence(0);
  }

  /* Stop, and go on from here next time. */
  pause() {
    if (!this.playing) return;
    const place = this.position;
    this.credit();
    this.silence(place);
  }

  finish() {
    this.reached = this.duration;
    this.credit();
    // The audio clock moves in blocks: what ended was heard to its end.
    if (this.heard[this.active] > this.duration - 0.1) this.heard[this.active] = this.duration;
    // The last block may still be in the making, for the recordings that come behind the one whose end was told.
    this.silence(0, this.context.currentTime + 0.01);
  }

  /* Bring `heard`, the seconds that each recording was heard, up to date. */
  credit() {
    if (!this.playing) return;
    const now = this.context.currentTime;
    let seconds = Math.max(0, now - this.credited);
    if (!this.loop) seconds = Math.min(seconds, Math.max(0, this.duration - this.offset - (this.credited - this.started)));
    this.heard[this.active] += seconds;
    this.credited = Math.max(now, this.credited);
  }

  silence(place, at = 0) {
    for (const { source, gain } of Object.values(this.voices)) {
      source.onended = at ? () => gain.disconnect() : null;
      source.stop(at);
      if (!at) gain.disconnect();
    }
    this.voices = {};
    this.offset = place;
    this.playing = false;
    this.onchange();
  }
}

/* Bytes of a data URI, without fetch, which a page opened from disk may not use. */
function bytesOf(dataUri) {
  const binary = atob(dataUri.slice(dataUri.indexOf(",") + 1));
  const bytes = new Uint8Array(binary.length);
  for (let index = 0; index < binary.length; index += 1) bytes[index] = binary.charCodeAt(index);
  return bytes.buffer;
}

/* {id: AudioBuffer} from {id: data URI}. */
async function decodeAll(context, uris) {
  const entries = Object.entries(uris).map(async ([id, uri]) => [id, await context.decodeAudioData(bytesOf(uri))]);
  return Object.fromEntries(await Promise.all(entries));
}
