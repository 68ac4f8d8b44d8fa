// What the host tells the kernels of engine `cuda`: plain numbers and addresses, the same on both sides.
#pragma once

#ifdef __CUDACC__
#define HIFIGAN_BOTH __host__ __device__ inline
#else
#include <cstdint>
#define HIFIGAN_BOTH inline
#endif

namespace hifigan::cuda {

using Address = unsigned long long;  // of device memory

// Rows that are read beyond a signal's ends. kFirstAgain is a transposed convolution's "replicate": one row before the first.
enum Padding : int { kPadZeros, kPadReflect, kPadReplicate, kPadFirstAgain };
enum Ending : int { kEndNone, kEndTanh, kEndClamp };

// Threads of the blocks that bring signals in, and take them out or on; of the second kind, each has a row.
constexpr int kEntryThreads = 128, kExitRows = 256, kCarryThreads = 256;

// A whole signal, or the new frames of a stream.
struct Item {
  long long before;  // frames that an earlier pass took
  long long after;   // frames with those of this pass
  Address state;     // rows kept from earlier passes; 0 for a signal that is whole
  int start;         // frames of the items before it in this pass
  int finished;      // whether the signal ends with this pass
};

// A layer's result: float16 [planes][chunks][total][8], an item's rows behind those of the item before it. Two planes are the
// value and what its rounding lost. Stored behind a leaky ReLU of `slope` (1 is none) and divided by `gain`.
struct Value {
  Address rows;
  Address saved;   // place of the rows kept from earlier passes in an item's state, in bytes: [planes][chunks][kept][8]
  int total;       // rows of all items
  int chunks;      // of 8 channels
  int planes;
  int rate;        // rows per frame
  int lag;         // rows that are not determined yet, of a signal that goes on
  int surplus;     // rows of a whole signal beyond `rate` for each frame
  int kept;        // rows that the next pass reads again
  float slope;
  float gain;      // a power of two
  float unslope, down;  // 1 / slope and 1 / gain: a division takes a kernel ten instructions and more
};

// The rows of a value in an item: those before `first` are kept from earlier passes, `last` ends those of this pass.
struct Span {
  long long first, last;
  long long length;  // of the whole signal; beyond all rows as long as nobody knows
};

HIFIGAN_BOTH Span span_of(const Item& item, const Value& value) {
  const long long first = item.before * value.rate - value.lag, last = item.after * value.rate - value.lag;
  Span span{first > 0 ? first : 0, last > 0 ? last : 0, 1LL << 62};
  if (item.finished) span.last = span.length = item.after * value.rate + value.surplus;
  return span;
}

// Rows that an item may have beyond `rate` for each of its new frames, and where its rows begin.
HIFIGAN_BOTH int spare_of(const Value& value) { return value.lag + value.surplus > 0 ? value.lag + value.surplus : 0; }
HIFIGAN_BOTH long long offset_of(const Item& item, int index, const Value& value) {
  return static_cast<long long>(item.start) * value.rate + static_cast<long long>(index) * spare_of(value);
}

constexpr int kMaxInputs = 16;
constexpr int kMaxBranches = 4;

// One layer of a launch. A transposed convolution is a convolution with `stride` results for each input row: result row
// `position * stride + phase - shift` of chunk c is column block c * stride + phase.
struct Branch {
  int inputs[kMaxInputs];  // values whose mean it reads
  int input_count;
  int output;
  int residual;            // value that is added; -1 for none
  int taps, dilation, left;
  int padding;
  int stride, shift;
  int taps_at_once;        // taps whose rows lie in shared memory together
  int places;              // groups of channels that lie there together
  float slope;             // leaky ReLU of what is read
  float scale;             // of what is read, so that it fits float16; a power of two
  float gain, up;          // of the sums, and 1 / gain
  float part;              // 1 / input_count
  Address weights, biases;
  Address added;           // float32 [items][columns], added to the biases of each item; 0 for none
  Address tiles;           // int32 [items + 1]: tiles of the items before
  int second_taps, second_left;  // of a residual unit's second convolution, which follows at once
  float second_slope, second_scale, second_gain, second_up;
  int columns;             // results for each position, in blocks of 8 channels
  int layer;               // its number, for the report of the largest values
};

struct Launch {
  Address values, items;
  Address largest;  // float32 [items][layers]: the largest magnitude stored, before it was rounded to float16; behind it the mel's
  int item_count;
  int branch_count;
  int layers;       // with the mel
  Branch branches[kMaxBranches];
};

enum Number : int { kFloat32, kFloat16, kBFloat16, kFloat64 };

// An item's mel, [bands][frames], wherever and however it lies; steps are in numbers.
struct Source {
  Address mel;
  long long band_step, frame_step;
  Number kind;
};

// The mels of all items, as a value of two planes; normalised first where `means` is not 0.
struct Entry {
  Address sources;
  Address means, scales;   // float32
  Address items, largest;  // as in Launch
  int item_count, layers;
  int frames, bands;
  Value value;
};

// The last layer: one channel, in float32.
struct Exit {
  Launch launch;   // one branch, whose weights are float32 [channels][taps]
  Address audio;   // float32, an item's samples behind those of the item before it
  int ending;
};

// Values whose last rows are kept for the next pass.
constexpr int kMaxCarried = 32;
struct Carry {
  Address values, items;
  int count;
  int carried[kMaxCarried];
};

// Both compilers lay these out alike.
static_assert(sizeof(Item) == 32 && sizeof(Source) == 32 && sizeof(Value) == 64 && sizeof(Launch) == 808 && sizeof(Exit) == 824 && sizeof(Entry) == 120 &&
                  sizeof(Carry) == 152,
              "host and card read the same bytes");

}  // namespace hifigan::cuda
