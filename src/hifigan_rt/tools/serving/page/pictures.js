// Waveforms, spectrograms and their difference, above each other on one time axis.

const WAVE_COLUMNS = 900;

class Pictures {
  /** @param onseek called with the share of the time axis that was clicked. */
  constructor(root, onseek) {
    this.root = root;
    this.figures = Object.fromEntries([...root.querySelectorAll('figure')].map(figure => [figure.dataset.track, figure]));
    for (const plot of root.querySelectorAll('.plot')) {
      plot.addEventListener('click', event => onseek((event.clientX - plot.getBoundingClientRect().left) / plot.clientWidth));
    }
    this.scale('level-scale', LOUDNESS);
    this.scale('change-scale', CHANGE);
    document.getElementById('change-low').textContent = `−${DIFFERENCE_DB} dB, less`;
    document.getElementById('change-high').textContent = `+${DIFFERENCE_DB} dB, more`;
  }

  /** Begin anew with a recording; `length` is the time axis in samples. */
  showOriginal(samples, length, sampleRate) {
    Object.assign(this, { sampleRate, length, seconds: length / sampleRate, columns: Math.max(16, Math.min(MAX_COLUMNS, Math.ceil(length / 64))) });
    this.original = spectrogram(samples, length, this.columns, sampleRate);
    this.loudest = this.original.reduce((a, b) => Math.max(a, b), -Infinity);
    this.peak = Math.max(0.01, peakOf(samples));
    this.wave(0, samples, 'Waveform of the original');
    this.spectrum(0, this.original, this.loudest - RANGE_DB, this.loudest, LOUDNESS, 'Spectrogram of the original');
    this.axes();
    this.clearResynthesis();
  }

  clearResynthesis() {
    this.root.classList.add('waiting');
    document.getElementById('difference-facts').textContent = '';
    for (const canvas of [...this.figures[1].querySelectorAll('canvas'), ...this.figures.difference.querySelectorAll('canvas')]) {
      canvas.width = canvas.height = 1;
      canvas.parentElement.setAttribute('aria-label', 'Nothing yet: the resynthesis is not computed');
    }
  }

  /** The waveform of as much as is there. */
  showPart(samples) {
    this.wave(1, samples, 'Waveform of the resynthesis');
  }

  showResynthesis(samples) {
    this.root.classList.remove('waiting');
    const found = spectrogram(samples, this.length, this.columns, this.sampleRate), floor = this.loudest - RANGE_DB;
    const change = difference(this.original, found, floor);
    this.wave(1, samples, 'Waveform of the resynthesis');
    this.spectrum(1, found, floor, this.loudest, LOUDNESS, 'Spectrogram of the resynthesis, on the original’s scale');
    const sounding = change.filter((_, i) => Math.max(found[i], this.original[i]) > floor + 20);
    const mean = sounding.reduce((sum, value) => sum + Math.abs(value), 0) / Math.max(1, sounding.length);
    const facts = `${mean.toFixed(1)} dB on average, where there is sound`;
    document.getElementById('difference-facts').textContent = facts;
    const label = `Resynthesis minus original: ${facts}. Orange has more, blue less`;
    this.spectrum('difference', change, -DIFFERENCE_DB, DIFFERENCE_DB, CHANGE, label);
  }

  /** Draw least and greatest of the samples behind each column. */
  wave(track, samples, label) {
    const plot = this.figures[track].querySelector('.wave'), canvas = plot.firstElementChild, context = canvas.getContext('2d');
    const columns = Math.min(WAVE_COLUMNS, Math.max(1, this.length)), height = 96;
    canvas.width = columns;
    canvas.height = height;
    context.fillStyle = getComputedStyle(plot).color;
    for (let column = 0; column < columns; column++) {
      const from = Math.floor(column * this.length / columns), to = Math.min(samples.length, Math.floor((column + 1) * this.length / columns));
      if (from >= to) break;
      let low = Infinity, high = -Infinity;
      for (let i = from; i < to; i++) {
        low = Math.min(low, samples[i]);
        high = Math.max(high, samples[i]);
      }
      const place = value => height / 2 * (1 - Math.max(-1, Math.min(1, value / this.peak)) * 0.96);
      context.fillRect(column, place(high) - 0.5, 1, Math.max(1, place(low) - place(high) + 1));
    }
    plot.setAttribute('aria-label', `${label}, ${this.seconds.toFixed(2)} seconds`);
  }

  spectrum(track, decibels, low, high, colours, label) {
    const plot = this.figures[track].querySelector('.spectrum'), canvas = plot.querySelector('canvas');
    paint(canvas, decibels, this.columns, low, high, colours);
    plot.setAttribute('aria-label', `${label}, 0 to ${(this.sampleRate / 2000).toFixed(1)} kHz`);
  }

  axes() {
    const mark = (text, style) => Object.assign(document.createElement('span'), { className: 'mark', textContent: text, style, ariaHidden: 'true' });
    for (const plot of this.root.querySelectorAll('.spectrum')) {
      const marks = frequencyMarks(this.sampleRate).map(([share, text]) => mark(text, `top:${(100 * (1 - share)).toFixed(1)}%`));
      plot.replaceChildren(plot.querySelector('canvas'), ...marks);
    }
    document.getElementById('times').replaceChildren(...timeMarks(this.seconds).map(([share, text]) => mark(text, `left:${(100 * share).toFixed(2)}%`)));
    document.getElementById('level-low').textContent = `−${RANGE_DB} dB`;
    document.getElementById('level-high').textContent = '0 dB, the original’s loudest';
  }

  scale(id, colours) {
    const canvas = document.getElementById(id), image = new ImageData(256, 1);
    for (let i = 0; i < 256; i++) image.data.set([colours[3 * i], colours[3 * i + 1], colours[3 * i + 2], 255], 4 * i);
    canvas.width = 256;
    canvas.height = 1;
    canvas.getContext('2d').putImageData(image, 0, 0);
  }

  /** Mark a place, and the track that is heard. */
  follow(share, track) {
    this.root.style.setProperty('--share', share.toFixed(5));
    for (const [name, figure] of Object.entries(this.figures)) figure.classList.toggle('audible', name === String(track));
  }
}
