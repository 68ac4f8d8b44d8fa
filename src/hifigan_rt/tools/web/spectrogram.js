// Pictures of sound: spectrograms and their difference, from decoded samples to pixels.

const BANDS = 128, FRAME = 1024, MAX_COLUMNS = 900, RANGE_DB = 80, DIFFERENCE_DB = 24;

const melOf = hz => 2595 * Math.log10(1 + hz / 700);
const hzOf = mel => 700 * (10 ** (mel / 2595) - 1);

/** Radix-2 FFT in place; the tables are made once. */
const fft = (() => {
  const half = FRAME / 2, cosine = new Float32Array(half), sine = new Float32Array(half), order = new Uint16Array(FRAME);
  for (let i = 0; i < half; i++) {
    cosine[i] = Math.cos(2 * Math.PI * i / FRAME);
    sine[i] = -Math.sin(2 * Math.PI * i / FRAME);
  }
  for (let i = 1; i < FRAME; i++) order[i] = order[i >> 1] >> 1 | (i & 1 ? half : 0);
  return (real, imaginary) => {
    for (let i = 0; i < FRAME; i++) {
      const j = order[i];
      if (j > i) {
        [real[i], real[j]] = [real[j], real[i]];
        [imaginary[i], imaginary[j]] = [imaginary[j], imaginary[i]];
      }
    }
    for (let size = 2; size <= FRAME; size *= 2) {
      const step = FRAME / size, middle = size / 2;
      for (let start = 0; start < FRAME; start += size) {
        for (let k = 0; k < middle; k++) {
          const a = start + k, b = a + middle, c = cosine[k * step], s = sine[k * step];
          const x = real[b] * c - imaginary[b] * s, y = real[b] * s + imaginary[b] * c;
          real[b] = real[a] - x; imaginary[b] = imaginary[a] - y;
          real[a] += x; imaginary[a] += y;
        }
      }
    }
  };
})();

/** Decibels of `columns` frames over a clip of `length` samples, in BANDS bands even in mel; row 0 is the lowest. */
function spectrogram(samples, length, columns, sampleRate) {
  const hann = Float32Array.from({ length: FRAME }, (_, i) => 0.5 - 0.5 * Math.cos(2 * Math.PI * i / FRAME));
  const top = melOf(sampleRate / 2), bins = FRAME / 2;
  const edges = Array.from({ length: BANDS + 1 }, (_, i) => hzOf(top * i / BANDS) / sampleRate * FRAME);
  const decibels = new Float32Array(columns * BANDS), power = new Float32Array(bins + 1);
  const real = new Float32Array(FRAME), imaginary = new Float32Array(FRAME);
  for (let column = 0; column < columns; column++) {
    const first = Math.round((column + 0.5) * length / columns) - FRAME / 2;
    for (let i = 0; i < FRAME; i++) {
      real[i] = (samples[first + i] || 0) * hann[i];
      imaginary[i] = 0;
    }
    fft(real, imaginary);
    for (let bin = 0; bin <= bins; bin++) power[bin] = real[bin] ** 2 + imaginary[bin] ** 2;
    for (let band = 0; band < BANDS; band++) {
      // Below about 1 kHz a band is narrower than a bin: then its middle is interpolated.
      const low = Math.ceil(edges[band]), high = Math.min(bins, Math.floor(edges[band + 1]));
      let value;
      if (high > low) {
        value = 0;
        for (let bin = low; bin <= high; bin++) value = Math.max(value, power[bin]);
      } else {
        const middle = (edges[band] + edges[band + 1]) / 2, under = Math.floor(middle), share = middle - under;
        value = power[under] * (1 - share) + power[Math.min(bins, under + 1)] * share;
      }
      decibels[column * BANDS + band] = 10 * Math.log10(value + 1e-10);
    }
  }
  return decibels;
}

/** Colours between anchors; both palettes are even in lightness to either side and tell apart without hue. */
function palette(anchors) {
  const table = new Uint8Array(256 * 3);
  for (let i = 0; i < 256; i++) {
    const place = i / 255 * (anchors.length - 1), under = Math.min(anchors.length - 2, Math.floor(place)), share = place - under;
    for (let c = 0; c < 3; c++) table[i * 3 + c] = anchors[under][c] * (1 - share) + anchors[under + 1][c] * share;
  }
  return table;
}
const LOUDNESS = palette([[8, 8, 22], [34, 26, 78], [88, 38, 116], [150, 52, 118], [212, 84, 92], [246, 146, 74], [252, 210, 110], [255, 252, 214]]);
const CHANGE = palette([[140, 205, 255], [62, 140, 214], [28, 66, 112], [16, 16, 20], [112, 56, 18], [214, 116, 32], [255, 194, 110]]);

/** Paint decibels, of which `low` gets the first colour and `high` the last. */
function paint(canvas, decibels, columns, low, high, colours) {
  canvas.width = columns;
  canvas.height = BANDS;
  const context = canvas.getContext('2d'), image = context.createImageData(columns, BANDS);
  for (let column = 0; column < columns; column++) {
    for (let band = 0; band < BANDS; band++) {
      const share = (decibels[column * BANDS + band] - low) / (high - low);
      const colour = Math.round(255 * Math.min(1, Math.max(0, share))) * 3, pixel = ((BANDS - 1 - band) * columns + column) * 4;
      image.data[pixel] = colours[colour];
      image.data[pixel + 1] = colours[colour + 1];
      image.data[pixel + 2] = colours[colour + 2];
      image.data[pixel + 3] = 255;
    }
  }
  context.putImageData(image, 0, 0);
}

/** What the second has more than the first, both raised to `floor` so that silence does not differ from silence. */
function difference(first, second, floor) {
  return first.map((value, i) => Math.max(second[i], floor) - Math.max(value, floor));
}

/** Where to write what along the frequencies: [share of the height, text]. */
function frequencyMarks(sampleRate) {
  const top = melOf(sampleRate / 2), marked = [500, 1000, 2000, 4000, 8000, 16000].filter(hz => hz < sampleRate / 2 * 0.95);
  return marked.map(hz => [melOf(hz) / top, hz < 1000 ? '0.5' : `${hz / 1000} kHz`]);
}

/** Where to write what along `duration` seconds: [share of the width, text]. */
function timeMarks(duration) {
  const step = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120].find(value => duration / value <= 8) || 300, marks = [];
  for (let place = 0; place * step <= duration * 0.97; place++) marks.push([place * step / duration, `${Number((place * step).toFixed(2))}${place ? '' : ' s'}`]);
  return marks;
}
