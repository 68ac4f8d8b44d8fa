// Speech: a text is spoken by one of the server's voices, and heard while it is computed.

class Speech {
  /**
   * @param form the text field with what belongs to it.
   * @param onstart called before anything is heard.
   * @param onrefused called with refusals that the page itself deals with; gives whether it did.
   */
  constructor(service, form, { onstart, onrefused }) {
    Object.assign(this, { service, form, onstart, onrefused, voices: [], job: null, player: null, clock: null });
    form.addEventListener('submit', event => {
      event.preventDefault();
      this.speak();
    });
    this.part('voice').addEventListener('change', () => this.offerSpeakers());
    this.part('stop').addEventListener('click', () => this.stop());
  }

  part(name) {
    return this.form.querySelector(`#speech-${name}`);
  }

  /** Offer voices; without any the form is not shown. */
  offer(voices) {
    const chosen = this.part('voice').value;
    this.voices = voices;
    this.form.hidden = !voices.length;
    this.part('voice').replaceChildren(...voices.map(({ name }) => new Option(name, name, false, name === chosen)));
    this.offerSpeakers();
  }

  offerSpeakers() {
    fillSpeakers(this.part('speakers'), this.voices.find(({ name }) => name === this.part('voice').value));
  }

  async speak() {
    this.stop();
    this.onstart();
    const mine = this.job = new AbortController(), speakers = this.part('speakers');
    this.tell('Computing …');
    this.part('stop').hidden = false;
    try {
      const { seconds, firstMs, allMs } = await this.service.speak(this.part('text').value, {
        voice: this.part('voice').value,
        speaker: speakers.hidden ? null : speakers.querySelector('select').value,
        speed: Number(this.part('speed').value),
        signal: mine.signal,
        onstart: rate => this.begin(rate),
        onsamples: (piece, ms) => {
          this.player.push(piece);
          this.tell(`First audio after ${milliseconds(ms)}.`);
        },
      });
      this.player.end();
      this.tell(`First audio after ${milliseconds(firstMs)}, ${seconds.toFixed(2)} s of it in ${milliseconds(allMs)}.`);
      this.endWhenHeard(mine);
    } catch (error) {
      if (mine !== this.job) return;
      this.stop();
      if (error.name !== 'AbortError' && !this.onrefused(error)) this.part('failure').textContent = toldOf(error, 'text');
    }
  }

  begin(sampleRate) {
    if (this.clock?.sampleRate !== sampleRate) {
      this.clock?.close();
      this.clock = new AudioContext({ sampleRate });
    }
    this.clock.resume();
    this.player = new StreamPlayer(this.clock);
  }

  endWhenHeard(job) {
    if (job !== this.job) return;
    if (!this.player.finished) setTimeout(() => this.endWhenHeard(job), 100);
    else this.release();
  }

  /** Stop the computing and the sound. */
  stop() {
    this.job?.abort();
    this.player?.stop();
    this.tell('');
    this.part('failure').textContent = '';
    this.release();
  }

  release() {
    if (document.activeElement === this.part('stop')) this.part('text').focus();
    this.job = this.player = null;
    this.part('stop').hidden = true;
  }

  tell(text) {
    if (this.part('status').textContent !== text) this.part('status').textContent = text;
  }
}
