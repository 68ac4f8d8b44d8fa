// The door between the core and the instruction sets: one struct of function pointers per ISA, with plain argument structs.
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
#pragma once

#include <cstddef>

namespace hifigan {

using Index = std::ptrdiff_t;

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
  int products;  // real products per tile and pair of channels: the number of matrices
};

// What happens to a value between the sum of products and its row in `y`:
//   v = sum + bias;  v += residual;  v += addend;  v *= scale;  v = v > 0 ? v : v * slope;  y = v
// `residual` and `addend` may be null (no addition); each may be `y` itself (same pointer and stride), never overlap it
// otherwise. `scale` 1 and `slope` 1 mean nothing to do. Rows of residual and addend are those of y.
struct Epilogue {
  const float* bias;  // padded output channels, zeros in the padding; never null
  const float* residual;
  Index residual_stride;
  const float* addend;
  Index addend_stride;
  float scale;
  float slope;
};

// A convolution of stride 1: output row r is the sum over taps j of weights[j] * act(x[r + j * dilation]), for 0 <= r < rows;
// act is the leaky ReLU of `slope_in` (1: none). So `x` is what tap 0 of output row 0 reads: the padding is already in it.
struct ConvArgs {
  const float* x;
  Index x_stride;
  Index x_rows;  // rows from x on that may be read, see "Ends"
  float slope_in;
  const float* weights;  // packed by the pack function of the same algorithm
  int in_channels;       // true channels, not padded
  int out_channels;
  int kernel_size;
  int dilation;
  float* y;  // never overlaps x
  Index y_stride;
  Index rows;
  Epilogue epilogue;
  float* scratch;
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

// A transposed convolution, seen as one product per input row: super-row q holds the `rate` output rows
//   y[q * rate + f] = bias + sum over a of weights[f + a * rate] * x[q + taps - 1 - a],  0 <= f < rate, 0 <= a < taps,
// taps = ceil(kernel_size / rate); weights behind kernel_size are zero. So `x` is the oldest row that super-row 0 reads.
// Output rows before `y_begin` and at or behind `y_end` (counted from y, which is the first row of super-row 0) are not
// stored, and memory there need not exist. Activations are the neighbours' business: x is used as it is.
struct ConvTransposeArgs {
  const float* x;
  Index x_stride;
  Index x_rows;
  const float* weights;
  int in_channels;
  int out_channels;
  int kernel_size;
  int rate;
  float* y;
  Index y_stride;
  Index super_rows;
  Index y_begin;
  Index y_end;
  const float* bias;  // padded output channels, once (not per phase)
  float* scratch;
};

// The last layer: audio[r] = tanh(bias + sum over taps j and channels of weights * x[r + j]), x used as it is.
struct ConvPostArgs {
  const float* x;
  Index x_stride;
  Index x_rows;
  const float* weights;
  int in_channels;
  int kernel_size;
  float bias;
  float* audio;
  Index rows;
  float* scratch;
};

// Weights as checkpoints have them, float32, to be laid out for one algorithm. `out` is aligned to 64 bytes and is written
// whole by the calls on the ranges [begin, end) of 0 .. pack_units; ranges do not overlap in what they write, so threads can
// share a layer. For conv: weights [C_out][C_in][K]; for the transposed convolution: [C_in][C_out][K].
struct PackArgs {
  const float* weights;
  int in_channels;
  int out_channels;
  int kernel_size;
  int rate;             // transposed convolution only
  Transform transform;  // tiled convolution only
  float* out;
  int unit_begin;
  int unit_end;
};

// Floats per vector of the widest instruction set.
inline constexpr int kMostLanes = 16;

// Sizes are in floats. Every pointer is set: an ISA has all operations.
struct Kernels {
  const char* name;  // "generic", "avx2", "avx512", "neon"
  int lanes;         // floats per vector
  // Floats of a row of c channels: a multiple of the vector that this ISA uses for so few channels.
  int (*padded_channels)(int c);

  TransformShape (*transform_shape)(Transform transform, int kernel_size);

  std::size_t (*tiled_weights_size)(Transform transform, int in_channels, int out_channels);
  int (*tiled_pack_units)(Transform transform, int in_channels, int out_channels);
  void (*pack_tiled)(const PackArgs& args);
  std::size_t (*tiled_scratch_size)(Transform transform, int in_channels, int out_channels);
  void (*conv_tiled)(const TiledConvArgs& args);

  std::size_t (*direct_weights_size)(int in_channels, int out_channels, int kernel_size);
  int (*direct_pack_units)(int in_channels, int out_channels, int kernel_size);
  void (*pack_direct)(const PackArgs& args);
  std::size_t (*direct_scratch_size)(int in_channels, int out_channels, int kernel_size, int dilation);
  void (*conv_direct)(const ConvArgs& args);

  std::size_t (*transpose_weights_size)(int in_channels, int out_channels, int kernel_size, int rate);
  int (*transpose_pack_units)(int in_channels, int out_channels, int kernel_size, int rate);
  void (*pack_transpose)(const PackArgs& args);
  std::size_t (*transpose_scratch_size)(int in_channels, int out_channels, int kernel_size, int rate);
  void (*conv_transpose)(const ConvTransposeArgs& args);

  // The last layer has one output channel and needs no units.
  std::size_t (*post_weights_size)(int in_channels, int kernel_size);
  void (*pack_post)(const PackArgs& args);
  std::size_t (*post_scratch_size)(int in_channels, int kernel_size);
  void (*conv_post)(const ConvPostArgs& args);

  // For the machine's ceiling: runs chains of multiply-adds in registers, gives their number. sink[0] is a factor below 1, and
  // sink holds kMostLanes floats.
  Index (*multiply_adds)(Index steps, float* sink);
};

// The table of an ISA by name; null if this build has none of that name. Does not ask the processor (cpu_features.h does).
const Kernels* find_kernels(const char* name);

}  // namespace hifigan
