// The interface between the core and the instruction sets: one struct per ISA, of data and function pointers.
//
// Rows and channels. An activation is an array of rows [time][channel]: channels are contiguous, one row is a moment.
// The channels of every row are padded to `padded_channels(c)`; the padding holds zeros, and kernels keep it so (packed
// weights and biases have zeros there). A stride is the distance of two rows in floats and a multiple of the padded
// channels. Row pointers are aligned to 64 bytes, or to the padded row where that is shorter.
//
// Ends. A kernel never reads a row before `x`, nor a row at or behind `x + x_rows * x_stride`: rows behind count as zero
// (`x_rows` may be 0 or negative, then all do). Rows before the signal are zeros that the core keeps in the buffer. A kernel
// writes the rows that it is asked for and no others.
//
// Bits. What a kernel computes for one output row depends only on the rows its tile reads, never on the range of tiles or
// rows of the call, on how they are grouped inside, or on the thread. So every variant of a micro-kernel adds in one order.
//
// Threads. All functions are pure but for what they write; calls on different ranges may run at the same time. `scratch`
// belongs to the calling thread, is aligned to 64 bytes and holds what the matching `*_scratch_size` says, in floats.
// Functions neither allocate nor throw.
//
// Memory of the ISA's own. What lies in packed weights and in scratch only the ISA knows: the core gets their sizes from it,
// in floats, and hands the memory over. Rows are opaque to the core as well, but for this: a row of zero bits holds zeros, and
// a row may be copied. Their numbers are float32, unless the ISA multiplies tiles of another `Format`.
//
// A tile unit is another `Kernels`, for one precision: its convolutions read rows in the format `operands` and write rows in
// the format that the readers of each want; it has no transforms, so that what begins with `tiled` is null. Its last layer
// reads float32. The first layers, whose rounding costs the most, may have a finer format: that of `finer`.
#pragma once

#include <cstddef>
#include <limits>

namespace hifigan {

using Index = std::ptrdiff_t;

// How numbers lie in rows and in packed weights: float32, or each as the sum of 1 to 3 numbers in bfloat16 ("slices"), each of
// them the rounded rest that those before it leave; the names say how many products a product of two such numbers takes.
// A row of slices is [line of 32 channels][slice][16 pairs]; a pair holds the channels n and 16 + n of its line, so that two
// vectors of float32 become a line by shifts and masks.
enum class Format { kFloat32, kBfloat16, kBfloat16x3, kBfloat16x6 };

constexpr int slices_of(Format format) { return format == Format::kFloat32 ? 0 : static_cast<int>(format); }
constexpr const char* name_of(Format format) {
  constexpr const char* kNames[] = {"float32", "bfloat16", "bfloat16x3", "bfloat16x6"};
  return kNames[static_cast<int>(format)];
}
constexpr int bytes_of(Format format) { return format == Format::kFloat32 ? 4 : 2 * slices_of(format); }
// Floats that a row of so many channels takes, a multiple of 32 if it has slices.
constexpr Index row_floats(Format format, Index channels) {
  return format == Format::kFloat32 ? channels : channels / 2 * slices_of(format);
}

// How a tile of input samples (rows of one phase of the dilation) becomes m output samples. The core uses a name only where
// `transform_shape` says that the kernel size is possible. The FFTs repair the two outputs beside the cyclic ones with one
// product each: kFft<N> reads N + 2 samples and gives m = N - k + 3 outputs.
enum class Transform {
  kFft8,
  kFft16,
  kFft32,
  kFft64,
};
inline constexpr int kTransforms = 4;

struct TransformShape {
  int samples;   // n: input samples of a tile
  int outputs;   // m: output samples of a tile; 0 if this kernel size is impossible
  int products;  // real products per tile and pair of channels
  int matrices;  // of weights
};

// What a value passes on its way into a convolution, applied where it is read or, if all readers want the same, where it is
// written: kLeakyRelu is v > 0 ? v : v * slope with a slope from 0 to 1. Every kind maps 0 to 0, so that the zeros around the
// signal stay.
enum class ActivationKind { kNone, kLeakyRelu };

struct Activation {
  ActivationKind kind = ActivationKind::kNone;
  float slope = 1.0f;

  bool operator==(const Activation& other) const { return kind == other.kind && slope == other.slope; }
};

// What happens to a value between the sum of products and its row in `y`:
//   v = sum + bias;  v += residual;  v += addend;  v *= scale;  y = activation(v)
// `residual` and `addend` may be null (no addition); each may be `y` itself (same pointer and stride), never overlap it
// otherwise. Rows of residual and addend are those of y. The residual is in the format of `x`, and behind the activation
// `undone`, which is taken back: no activation, unless `x` has slices. The addend is float32. `format` is y's; where it is
// another than the addend's, and addend and y are the same rows, channels are taken in rising order, by one caller.
struct Epilogue {
  const float* bias;  // padded output channels, zeros in the padding; never null
  const float* residual;
  Index residual_stride;
  const float* addend;
  Index addend_stride;
  float scale;  // 1: nothing to do
  Activation activation;
  Activation undone = {};
  Format format = Format::kFloat32;
};

// How a layer goes through the caches. What is fastest differs from machine to machine; no bit does.
struct Tuning {
  const char* name;
  // A block of many tiles, whose planes are `block_bytes` that stay in the second cache, goes through one product after the
  // other, each over all panels of output channels; meanwhile the next product's weights are fetched into the second cache.
  // Else a block of few tiles goes through one panel after the other, each with all its products, and weights are fetched
  // past the second cache.
  bool products_outside;
  // Rows that will be written or added are fetched: within the products of many tiles, or between those of one panel.
  bool fetch_rows;
  Index block_bytes;
};

// A range of the columns of a layer's packed weights, its ends multiples of the ISA's `panel` or the last column. No bit of a column
// depends on the others.
struct Columns {
  int begin = 0;
  int end = std::numeric_limits<int>::max();
};

// A convolution of stride 1: output row r is the sum over taps j of weights[j] * activation(x[r + j * dilation]), for
// 0 <= r < rows. So `x` is what tap 0 of output row 0 reads: the padding is already in it.
struct ConvArgs {
  const float* x;
  Index x_stride;
  Index x_rows;  // rows from x on that may be read, see "Ends"
  Activation activation;
  const float* weights;  // packed by the pack function of the same algorithm
  int in_channels;       // true channels, not padded
  int out_channels;
  int kernel_size;
  int dilation;
  float* y;  // never overlaps x
  Index y_stride;
  Index rows;
  Epilogue epilogue;
  const Tuning* tuning;
  float* scratch;
  Columns columns = {};  // output channels
};

// Tile t of a tiled convolution covers phase p = t % dilation, samples i = (t / dilation) * m + 0 .. m - 1 of that phase, which
// are the output rows p + i * dilation; rows at or behind `rows` are not stored. There are
// dilation * ceil(ceil(rows / dilation) / m) tiles; those without a row to store do nothing.
struct TiledConvArgs {
  ConvArgs conv;
  Transform transform;
  Index tile_begin;
  Index tile_end;
};

// Super-rows that Winograd's algorithm computes together: bits are the same where pieces begin at multiples of it.
inline constexpr Index kWinogradRows = 3;

// A transposed convolution, seen as one product per input row: super-row q holds the `stride` output rows
//   y[q * stride + f] = bias + sum over a of weights[f + a * stride] * x[q + taps - 1 - a],  0 <= f < stride, 0 <= a < taps,
// taps = ceil(kernel_size / stride); weights behind kernel_size are zero. So `x` is the oldest row that super-row 0 reads.
// Output rows before `y_begin` and at or behind `y_end` (counted from y, which is the first row of super-row 0) are not
// stored, and memory there need not exist. x is used as it is; what `activation` makes is written, in the format of y.
struct ConvTransposeArgs {
  const float* x;
  Index x_stride;
  Index x_rows;
  const float* weights;
  int in_channels;
  int out_channels;
  int kernel_size;
  int stride;
  float* y;
  Index y_stride;
  Index super_rows;
  Index y_begin;
  Index y_end;
  const float* bias;  // padded output channels, once (not per phase)
  const Tuning* tuning;
  float* scratch;
  Activation activation = {};  // none, unless x has slices
  Format format = Format::kFloat32;
  Columns columns = {};  // padded output channels of one phase after the other
  bool winograd = false;  // of two taps and float32 rows: three super-rows from four products
};

// What brings samples into [-1, 1]: tanh, cutting off what is beyond, or nothing.
enum class Output { kTanh, kClamp, kNone };

// The last layer: audio[r] = output(bias + sum over taps j and channels of weights * x[r + j]), x used as it is.
struct ConvPostArgs {
  const float* x;
  Index x_stride;
  Index x_rows;
  const float* weights;
  int in_channels;
  int kernel_size;
  float bias;
  Output output;
  float* audio;
  Index rows;
  float* scratch;
};

// What a gated convolution has written, to its value, in place: row r holds 2 * channels numbers a and b, half and half, and
// begins with the padded `channels` numbers tanh(a) * sigmoid(b) afterwards; what lies behind them is undefined.
struct GateArgs {
  float* rows;
  Index stride;
  Index count;
  int channels;
};

// Weights as checkpoints have them, float32, to be laid out for one algorithm. `out` is aligned to 64 bytes and is written
// whole by the calls on the ranges [begin, end) of 0 .. pack_units; ranges do not overlap in what they write, so threads can
// share a layer. For conv: weights [C_out][C_in][K]; for the transposed convolution: [C_in][C_out][K].
struct PackArgs {
  const float* weights;
  int in_channels;
  int out_channels;
  int kernel_size;
  int stride;           // transposed convolution only
  Transform transform;  // tiled convolution only
  float* out;
  int unit_begin;
  int unit_end;
};

// What an ISA's arithmetic costs on one thread, for the choice of algorithms: measured, with the machine and the figures in
// native/NOTES.md. Only ratios matter for the choice, so other processors of the same ISA are served well enough.
struct Costs {
  double macs_per_us;  // multiply-accumulates of a direct convolution
  // Time of a tiled convolution over that of its products alone: transforms and what they do to the caches. It is
  // `factor + thin * 32 / channels`, since few channels share less of a transform.
  double factor[kTransforms];
  double thin[kTransforms];
};

// Of the x86-64 baseline, and taken for vectors that are as wide and were not measured.
inline constexpr Costs kFourLaneCosts{17e3, {1.03, 1.05, 1.00, 1.14}, {0.20, 0.22, 0.40, 0.50}};

// What an ISA wants of the caches.
struct Caches {
  // Bytes of one buffer of a block. Smaller ones would stay in the second cache but read the weights more often, which costs
  // more; larger ones gain nothing (native/NOTES.md).
  double block_bytes;
  double last_bytes;           // weights beyond this are taken to come from memory each time
  double memory_bytes_per_us;  // weights that no cache holds
  double cache_bytes_per_us;   // weights that the last cache holds
};

inline constexpr Caches kUsualCaches{1.5e6, 32e6, 16e3, 100e3};

// How threads share the rows of a product.
struct Pieces {
  Index unit;    // rows, or tiles, that are computed together: pieces begin at its multiples
  Index least;   // rows of a piece; smaller ones cost more, in calls and in weights that each reads, than they give in balance
  Index enough;  // rows for each thread from which on products take longer than the weights for them
};

inline constexpr Pieces kVectorPieces{1, 48, 12};

// Sizes are in floats. Every function pointer is set, transforms of tile units aside: an ISA has all operations.
struct Kernels {
  const char* name;  // for people and for HIFIGAN_RT_ISA: "generic", "avx2", "avx512", "neon", "amx", "amx-software"
  int lanes;         // floats per vector
  int panel;         // columns of weights that are packed together; 0: all columns have to be computed at once
  Format operands;   // of packed weights, and of the rows that convolutions read
  Pieces pieces;
  Costs costs;
  Caches caches;
  // The ISA for layers of at most so many output channels (the last layer: input channels), where most of each of this one's
  // vectors would be padding; null and 0 if there is none.
  const Kernels* narrower;
  int narrower_channels;
  // The same with finer operands, for the layers up to the first transposed convolution; null if there is none.
  const Kernels* finer;
  // Channels of a row of c channels, padding counted: a multiple of the vector that this ISA uses for so few channels.
  int (*padded_channels)(int c);
  // Writes a row of c channels in the format of `operands`, its padding included.
  void (*store_row)(const float* values, int c, float* row);

  TransformShape (*transform_shape)(Transform transform, int kernel_size);

  std::size_t (*tiled_weights_size)(Transform transform, int in_channels, int out_channels);
  int (*tiled_pack_units)(Transform transform, int in_channels, int out_channels);
  void (*pack_tiled)(const PackArgs& args);
  // For every tuning of at most so many block_bytes.
  std::size_t (*tiled_scratch_size)(Transform transform, int in_channels, int out_channels, Index block_bytes);
  void (*conv_tiled)(const TiledConvArgs& args);

  std::size_t (*direct_weights_size)(int in_channels, int out_channels, int kernel_size);
  int (*direct_pack_units)(int in_channels, int out_channels, int kernel_size);
  void (*pack_direct)(const PackArgs& args);
  std::size_t (*direct_scratch_size)(int in_channels, int out_channels, int kernel_size, int dilation);
  void (*conv_direct)(const ConvArgs& args);

  std::size_t (*transpose_weights_size)(int in_channels, int out_channels, int kernel_size, int stride);
  int (*transpose_pack_units)(int in_channels, int out_channels, int kernel_size, int stride);
  void (*pack_transpose)(const PackArgs& args);
  std::size_t (*transpose_scratch_size)(int in_channels, int out_channels, int kernel_size, int stride);
  void (*conv_transpose)(const ConvTransposeArgs& args);

  // The last layer has one output channel and needs no units.
  std::size_t (*post_weights_size)(int in_channels, int kernel_size);
  void (*pack_post)(const PackArgs& args);
  std::size_t (*post_scratch_size)(int in_channels, int kernel_size);
  void (*conv_post)(const ConvPostArgs& args);

  void (*gate)(const GateArgs& args);

  // For the machine's ceiling: runs chains of multiply-adds in registers, gives their number. sink[0] is a factor below 1, and
  // sink holds a vector.
  Index (*multiply_adds)(Index steps, float* sink);
};

// What another ISA does better for narrow layers, of weights that are packed as the narrower ISA packs them.
struct NarrowLayers {
  Pieces pieces;
  Costs costs;
  std::size_t (*tiled_scratch_size)(Transform transform, int in_channels, int out_channels, Index block_bytes);
  void (*conv_tiled)(const TiledConvArgs& args);
};

// The ISA's functions for a layer with so many output channels (the last layer: input channels).
inline const Kernels& kernels_for(const Kernels& isa, int channels) {
  return channels <= isa.narrower_channels ? *isa.narrower : isa;
}

// The table of an ISA by its name, for a precision ("float32", "bfloat16", "bfloat16x3"); null if this build has none of them.
// Does not ask the processor (cpu_features.h does).
const Kernels* find_kernels(const char* name, const char* precision = "float32");

}  // namespace hifigan
