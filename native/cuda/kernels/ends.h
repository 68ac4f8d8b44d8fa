// Where a signal comes in and goes out, and what a stream keeps between two passes.
#pragma once

namespace hifigan::cuda {

HIFIGAN_DEVICE float number_of(const Source& source, long long index) {
  if (source.kind == kFloat64) return static_cast<float>(load_double(at<double>(source.mel) + index));
  if (source.kind == kFloat32) return load_float(at<float>(source.mel) + index);
  const Word half = load2(at<short>(source.mel) + index);
  return source.kind == kFloat16 ? low_half(half) : of_bits(half << 16);
}

// Blocks along x are frames, along y chunks.
HIFIGAN_DEVICE void enter(const Entry& entry) {
  const int frame = block_x() * kEntryThreads + thread_index(), chunk = block_y();
  if (frame >= entry.frames) return;
  int item = 0;
  HIFIGAN_NO_UNROLL
  for (int above = entry.item_count; above - item > 1;) {
    const int middle = (item + above) / 2;
    if (at<Item>(entry.items)[middle].start <= frame) {
      item = middle;
    } else {
      above = middle;
    }
  }
  const Source source = at<Source>(entry.sources)[item];
  const long long first = (frame - at<Item>(entry.items)[item].start) * source.frame_step;
  float numbers[8];
  HIFIGAN_UNROLL
  for (int i = 0; i < 8; ++i) {
    const int band = chunk * 8 + i;
    numbers[i] = 0.0f;
    if (band >= entry.bands) continue;
    numbers[i] = number_of(source, first + band * source.band_step);
    if (entry.means) numbers[i] = (numbers[i] - at<float>(entry.means)[band]) / at<float>(entry.scales)[band];
  }
  Word planes[4][2];
  Largest largest;
  HIFIGAN_UNROLL
  for (int q = 0; q < 4; ++q) {
    const float low = numbers[2 * q] * entry.value.down, high = numbers[2 * q + 1] * entry.value.down;
    largest.add(low, high);
    split<2>(low, high, planes[q]);
  }
  largest.report(entry.largest, item, entry.layers, entry.layers - 1);
  HIFIGAN_UNROLL
  for (int p = 0; p < 2; ++p)
    store16(reinterpret_cast<char*>(entry.value.rows) + (static_cast<long long>(p * entry.value.chunks + chunk) * entry.value.total + frame) * 16,
            {planes[0][p], planes[1][p], planes[2][p], planes[3][p]});
}

// One channel of float32 sums: a thread has one row; 16 channels of the rows that a block reads are in shared memory at a time, as
// [4][rows][4]. Weights are [16 channels][tap][16].
HIFIGAN_DEVICE void leave(const Exit& exit) {
  constexpr int kChunks = 2;
  const Place place = find_place(exit.launch, block_x());
  const Branch& branch = *place.branch;
  const Value& in = at<Value>(exit.launch.values)[branch.inputs[0]];
  const Value& out = at<Value>(exit.launch.values)[branch.output];
  const Item item = item_of(exit.launch, place);
  const Span span = span_of(item, out);
  const int row = place.tile * kExitRows + thread_index(), chunks = in.chunks;
  const long long from = span.first + static_cast<long long>(place.tile) * kExitRows - branch.left;
  float total = at<float>(branch.biases)[0];
  HIFIGAN_NO_UNROLL
  for (int part = 0; part < branch.taps; part += branch.taps_at_once) {
    const int taps = branch.taps - part < branch.taps_at_once ? branch.taps - part : branch.taps_at_once;
    const int rows = kExitRows + (taps - 1) * branch.dilation;
    HIFIGAN_NO_UNROLL
    for (int chunk = 0; chunk < chunks; chunk += kChunks) {
      HIFIGAN_NO_UNROLL
      for (int r = thread_index(); r < rows; r += kExitRows) {
        float sums[kChunks][8];
        const long long first = from + static_cast<long long>(part) * branch.dilation;
        if (in.planes == 1) {
          mean_of_row<1>(exit.launch, place, item, first, r, chunk, sums);
        } else {
          mean_of_row<2>(exit.launch, place, item, first, r, chunk, sums);
        }
        HIFIGAN_UNROLL
        for (int four = 0; four < kChunks * 2; ++four) {
          const float* const x = &sums[four / 2][four % 2 * 4];
          store_shared16(shared_start() + static_cast<Word>(four * rows + r) * 16, {bits_of(x[0]), bits_of(x[1]), bits_of(x[2]), bits_of(x[3])});
        }
      }
      block_barrier();
      const char* weights = at<char>(branch.weights) + (static_cast<long long>(chunk / kChunks) * branch.taps + part) * kChunks * 32;
      Word x = shared_start() + static_cast<Word>(thread_index()) * 16;
      HIFIGAN_NO_UNROLL
      for (int tap = 0; tap < taps; ++tap) {
        HIFIGAN_UNROLL
        for (int four = 0; four < kChunks * 2; ++four) {
          const Words w = load16(weights + four * 16), v = load_shared16(x + static_cast<Word>(four * rows) * 16);
          total = multiply_add(of_bits(w.x), of_bits(v.x), total), total = multiply_add(of_bits(w.y), of_bits(v.y), total);
          total = multiply_add(of_bits(w.z), of_bits(v.z), total), total = multiply_add(of_bits(w.w), of_bits(v.w), total);
        }
        weights += kChunks * 32, x += static_cast<Word>(branch.dilation) * 16;
      }
      block_barrier();
    }
  }
  if (row >= span.last - span.first) return;
  if (exit.ending == kEndTanh) total = hyperbolic_tangent(total);
  if (exit.ending == kEndClamp) total = larger(-1.0f, smaller(1.0f, total));
  store_float(reinterpret_cast<float*>(exit.audio) + offset_of(item, place.index, out) + row, total);
}

// Blocks along x are items, along y values. Rows move towards the front, so what is written was read before.
HIFIGAN_DEVICE void carry(const Carry& carry) {
  const Item item = at<Item>(carry.items)[block_x()];
  const Value& value = at<Value>(carry.values)[carry.carried[block_y()]];
  if (!item.state || item.finished) return;
  const Span span = span_of(item, value);
  const Rows rows(value, item, block_x(), span.last - value.kept);
  const int warp = thread_index() / 32, lane = thread_index() % 32;
  HIFIGAN_NO_UNROLL
  for (int line = warp; line < value.planes * value.chunks; line += kCarryThreads / 32) {
    char* const to = reinterpret_cast<char*>(item.state + value.saved) + static_cast<long long>(line) * value.kept * 16;
    HIFIGAN_NO_UNROLL
    for (int base = 0; base < value.kept; base += 32) {
      const int row = base + lane;
      const bool there = row < value.kept && row >= rows.begin;
      Words words = {0, 0, 0, 0};
      if (there) words = load16(rows.chunk(row, line));
      warp_barrier();
      if (there) store16(to + row * 16LL, words);
      warp_barrier();
    }
  }
}

}  // namespace hifigan::cuda
