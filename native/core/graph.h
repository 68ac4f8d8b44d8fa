// The generator as the core sees it: layers, sizes and how many rows of each layer are determined by so many rows before it.
#pragma once

#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace hifigan {

// A convolution of stride 1; as many rows come out as go in unless it is the last layer or the first.
struct Conv {
  std::string name;
  int in_channels, out_channels, kernel_size, dilation, padding;

  int span() const { return (kernel_size - 1) * dilation; }
  Index output_length(Index length) const { return length + 2 * padding - span(); }
  // Rows that can be computed once `length` rows are there and more will follow.
  Index determined(Index length) const;
};

struct ConvTranspose {
  std::string name;
  int in_channels, out_channels, kernel_size, rate, padding;

  // Input rows that one group of `rate` output rows reads.
  int taps() const { return (kernel_size + rate - 1) / rate; }
  Index output_length(Index length) const { return (length - 1) * rate - 2 * padding + kernel_size; }
  Index determined(Index length) const;
};

struct Resblock {
  std::vector<std::vector<Conv>> units;  // one convolution per unit (type 2) or two (type 1)

  // How many rows the output lies behind the input as long as more will follow.
  int lag() const;
};

struct Stage {
  ConvTranspose upsample;
  std::vector<Resblock> resblocks;
};

struct Graph {
  Conv pre;
  std::vector<Stage> stages;
  Conv post;
  float slope;        // of every leaky ReLU but the last
  float final_slope;  // of the one before `post`

  // Samples of a mel of so many frames, and those determined while more frames will follow.
  Index output_length(Index frames) const;
  Index determined(Index frames) const;
};

// Throws std::invalid_argument, naming the layer, for sizes that are not positive or do not fit together, and for residual
// blocks that change the length.
void check(const Graph& graph);

}  // namespace hifigan
