// Playing one clip: the shared player, made at the first play, since a context made earlier would wait for a gesture.

class Transport {
  /** @param onchange called when anything that shows has changed. */
  constructor(sampleRate, onchange) {
    Object.assign(this, { sampleRate, onchange, buffers: [], audible: 0, offset: 0, loop: false, player: null });
  }

  get duration() {
    return Math.max(0, ...this.buffers.filter(Boolean).map(buffer => buffer.duration));
  }

  get playing() {
    return Boolean(this.player?.playing);
  }

  get position() {
    return this.playing ? this.player.position : this.offset;
  }

  /** Give the signals of another clip, null where there is none; shorter ones are filled with silence. */
  load(buffers) {
    this.player?.stop();
    this.player = null;
    const length = Math.max(0, ...buffers.filter(Boolean).map(buffer => buffer.length));
    this.buffers = buffers.map(buffer => buffer && this.padded(buffer, length));
    this.offset = 0;
    this.onchange();
  }

  padded(buffer, length) {
    if (buffer.length === length) return buffer;
    const whole = new AudioBuffer({ length, sampleRate: this.sampleRate });
    whole.copyToChannel(buffer.getChannelData(0), 0);
    return whole;
  }

  /** The audio clock, from the first time that anything plays. */
  get context() {
    return this.clock ||= new AudioContext({ sampleRate: this.sampleRate });
  }

  /** @param at when, on the audio clock; as soon as possible if it is not given. */
  play(from = this.offset, at = undefined) {
    if (!this.duration) return;
    this.player ||= new SwitchPlayer(this.context, Object.fromEntries([...this.buffers.entries()].filter(([, buffer]) => buffer)), {
      onchange: () => {
        if (this.player && !this.player.playing) this.offset = this.player.offset;
        this.onchange();
      },
    });
    this.player.loop = this.loop;
    this.player.play(String(this.audible), from < this.duration - 0.01 ? from : 0, at);
  }

  toggle() {
    if (this.playing) this.player.pause();
    else this.play();
  }

  hear(index) {
    this.audible = index;
    if (this.playing) this.player.select(String(index));
    this.onchange();
  }

  seek(seconds) {
    const place = Math.min(Math.max(0, seconds), this.duration);
    if (this.playing) this.play(place);
    else this.offset = place;
    this.onchange();
  }

  repeat(loop) {
    this.loop = loop;
    if (this.playing) this.play(this.position);
  }
}
