// Sound that is played while it still comes in.

const LEAD_SECONDS = 0.15;

/** Puts each piece on the audio clock where the one before it ends, to the very sample; counts where it came too late. */
class StreamPlayer {
  /** @param context an AudioContext at the samples' own rate, so that nothing is resampled. */
  constructor(context, { lead = LEAD_SECONDS } = {}) {
    Object.assign(this, { context, lead, waiting: [], waitingSamples: 0, placed: 0, first: null, gaps: 0, ended: false, sources: new Set() });
    this.least = Infinity;
  }

  /** More samples; playing begins when `lead` seconds wait. */
  push(samples) {
    this.waiting.push(samples);
    this.waitingSamples += samples.length;
    this.place();
  }

  /** There are no more. */
  end() {
    this.ended = true;
    this.place();
  }

  /** Seconds from the start of the sound to what is heard now. */
  get position() {
    return Math.min(Math.max(0, this.context.currentTime - this.first / this.context.sampleRate), this.placed / this.context.sampleRate);
  }

  /** Seconds that are there beyond what is heard now. */
  get buffered() {
    const placed = this.first === null ? 0 : this.placed / this.context.sampleRate - this.position;
    return placed + this.waitingSamples / this.context.sampleRate;
  }

  get finished() {
    return this.ended && !this.waitingSamples && this.position >= this.placed / this.context.sampleRate;
  }

  place() {
    const { sampleRate, currentTime } = this.context, soon = Math.ceil((currentTime + 0.03) * sampleRate);
    const running = this.first !== null && this.first + this.placed >= currentTime * sampleRate;
    if (this.first !== null) this.least = Math.min(this.least, (this.first + this.placed) / sampleRate - currentTime);
    if (!this.waitingSamples || !(running || this.ended || this.waitingSamples >= this.lead * sampleRate)) return;
    if (!running) {
      if (this.first !== null) this.gaps++;
      this.first = soon - this.placed;
    }
    const buffer = new AudioBuffer({ length: this.waitingSamples, sampleRate });
    let filled = 0;
    for (const piece of this.waiting) {
      buffer.copyToChannel(piece, 0, filled);
      filled += piece.length;
    }
    const source = new AudioBufferSourceNode(this.context, { buffer });
    source.connect(this.context.destination);
    source.onended = () => this.sources.delete(source);
    source.start((this.first + this.placed) / sampleRate);
    this.sources.add(source);
    this.placed += filled;
    this.waiting = [];
    this.waitingSamples = 0;
  }

  /** A moment that is still to come, on the clock and in the sound, where another player can take over. */
  meeting() {
    const { sampleRate, currentTime } = this.context, at = Math.ceil((currentTime + 0.06) * sampleRate);
    return { at: at / sampleRate, place: (at - this.first) / sampleRate };
  }

  /** @param at when, on the audio clock; now if it is not given. */
  stop(at = 0) {
    this.waiting = [];
    this.waitingSamples = 0;
    for (const source of this.sources) source.stop(at);
    this.stopped = true;
  }
}
