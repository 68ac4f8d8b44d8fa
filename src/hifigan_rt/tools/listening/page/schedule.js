/* Who hears what in which order. The same as evaluation/listening/schedule.py, to the bit: the scores depend on it. */
class RandomNumbers {
  constructor(seed) {
    this.state = seed >>> 0;
  }

  /* Mulberry32: from 0 to 2**32 - 1. */
  next() {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let mixed = this.state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  shuffled(values) {
    const result = [...values];
    for (let last = result.length - 1; last > 0; last -= 1) {
      const other = Math.floor((this.next() / 4294967296) * (last + 1));
      [result[last], result[other]] = [result[other], result[last]];
    }
    return result;
  }
}

/* FNV-1a, 32 bits. */
function seedOf(testId, listener) {
  let state = 0x811c9dc5;
  for (const letter of `${testId}/${listener}`) state = Math.imul(state ^ letter.charCodeAt(0), 0x01000193) >>> 0;
  return state;
}

/* [{order: [stimulus], x: stimulus or ""}] */
function scheduleOf(definition, listener) {
  const numbers = new RandomNumbers(seedOf(definition.test_id, listener));
  const rows = numbers.shuffled(definition.rows).slice(0, definition.rows_per_listener);
  if (definition.mode === "mos") return oneByOne(definition, rows, numbers);
  if (definition.mode === "mushra") return rows.map((row) => ({ order: numbers.shuffled(row), x: "" }));
  const sides = numbers.shuffled(rows.map((_, index) => index % 2));
  const pairs = rows.map((row, index) => (sides[index] ? [row[1], row[0]] : row));
  return pairs.map((pair) => ({ order: pair, x: pair[numbers.next() >>> 31] }));
}

function oneByOne(definition, rows, numbers) {
  const trials = [];
  for (const row of rows) {
    const order = numbers.shuffled(row);
    const before = trials.at(-1);
    if (before && definition.stimuli[before] === definition.stimuli[order[0]]) {
      [order[0], order[order.length - 1]] = [order.at(-1), order[0]];
    }
    trials.push(...order);
  }
  return trials.map((stimulus) => ({ order: [stimulus], x: "" }));
}

/* The rows to practise with, in an order that tells nothing about the test's. */
function trainingOf(definition) {
  if (definition.mode !== "mos") {
    return definition.training.map((row) => ({ order: row, x: definition.mode === "abx" ? row[1] : "" }));
  }
  return definition.training.flat().map((stimulus) => ({ order: [stimulus], x: "" }));
}
