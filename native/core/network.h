// The generator as the core sees it: the list of its layers, and the structure that the core finds in it.
#pragma once

#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace hifigan {

enum class LayerKind { kConv, kConvTranspose };

// What lies beyond the ends of what a layer reads: zeros, the rows mirrored at the last one, or the last one again. For a
// transposed convolution kReplicate means that the row before the first is the first, and nothing else.
enum class PaddingMode { kZeros, kReflect, kReplicate };

// A convolution of stride 1, or a transposed one without output padding; the same fields as Layer in hifigan_rt.graph.
struct NetworkLayer {
  std::string name;
  LayerKind kind;
  int in_channels, out_channels, kernel_size;
  int stride;    // output rows per input row; 1 for a convolution
  int dilation;  // input rows from tap to tap; 1 for a transposed convolution
  int padding_left, padding_right;  // rows added by a convolution, cut off by a transposed one
  Activation activation;  // what the input passes first
  bool bias;
  std::vector<std::string> inputs;      // values that it reads; their mean, if they are several
  std::optional<std::string> residual;  // value that is added to its result
  PaddingMode padding_mode = PaddingMode::kZeros;
  // Name of the 1x1 convolution of the conditioning vector that is added to every row of its result.
  std::optional<std::string> conditioning;
  bool gated = false;  // its value is tanh of the first half of its result's channels times the sigmoid of the other half
  bool joins = false;  // it reads the channels of its inputs one input behind the other, in place of their mean

  // Channels of its value.
  int value_channels() const { return gated ? out_channels / 2 : out_channels; }
  // Rows from the first tap to the last.
  int span() const { return (kernel_size - 1) * dilation; }
  // Input rows that one group of `stride` output rows of a transposed convolution reads.
  int taps() const { return (kernel_size + stride - 1) / stride; }
  // Rows that the output of a convolution lies behind its input as long as more will follow.
  int lag() const { return span() - padding_left; }
  // Rows that so many input rows give, and those that can be computed while more will follow.
  Index output_length(Index length) const;
  Index determined(Index length) const;
};

// One convolution, or two with nothing but each other between them; the unit's input is added to the result. Layers are
// numbers in the network's list.
struct ResidualUnit {
  std::size_t first;
  std::optional<std::size_t> second;
};

struct Resblock {
  std::vector<ResidualUnit> units;
};

// An upsampling, and the residual blocks side by side whose mean the next stage or the last layer reads.
struct Stage {
  std::size_t upsample;
  std::vector<Resblock> resblocks;  // their layers: upsample + 1 .. end - 1
  std::size_t end;
};

// A gated convolution of a coupling, and two convolutions of one row that read its value: one is added to what the gated one
// has read, unless nothing follows that reads the sum, the other to the half that the coupling shifts.
struct GatedUnit {
  std::size_t gate;
  std::optional<std::size_t> residual;
  std::size_t shift;
};

// What shifts one half of the input's channels by what it makes of the other half.
struct Coupling {
  std::size_t pre;  // reads that other half, row by row
  std::size_t shifted;  // 0 or 1: the first or the second half
  std::vector<GatedUnit> units;
};

struct Network {
  std::vector<NetworkLayer> layers;
  std::vector<Coupling> couplings;  // the flow, in front of the first convolution
  std::vector<Stage> stages;  // between the first layer and the last
  std::size_t first_number;   // behind the flow, or 1 if a linear layer makes the rows that the first convolution reads, or 0
  Output output;
  int conditioning_channels;  // of the vector that conditioned layers take; 0 if there is none

  const NetworkLayer* linear() const { return first_number && couplings.empty() ? &layers.front() : nullptr; }
  const NetworkLayer& first() const { return layers[first_number]; }
  const NetworkLayer& last() const { return layers.back(); }
  int bands() const { return layers.front().in_channels * (couplings.empty() ? 1 : 2); }
  bool in_flow(std::size_t layer) const { return !couplings.empty() && layer < first_number; }
  // Rows that a residual block's output lies behind its input as long as more will follow.
  int lag(const Resblock& resblock) const;
  // Frames that the end of a coupling, and of the flow, lies behind its input.
  int lag(const Coupling& coupling) const;
  int flow_lag() const;
  // Samples of a mel of so many frames, and those determined while more frames will follow.
  Index output_length(Index frames) const;
  Index determined(Index frames) const;
  // Frames that a mel must have: 1, or so many that each layer has more rows than it mirrors.
  Index least_frames() const;
  // Throws TooShort.
  void check_frames(Index frames) const;
};

// A mel has fewer frames than `least_frames`.
struct TooShort : std::invalid_argument {
  TooShort(Index frames, Index least);
};

// Finds the stages. Throws std::invalid_argument, naming the layer, if the list is no generator that the core can run: sizes
// that are not positive or do not fit together, layers that read others than they should, and residual blocks that change
// the length.
Network make_network(std::vector<NetworkLayer> layers, Output output = Output::kTanh, int conditioning_channels = 0);

}  // namespace hifigan
