// Which algorithm computes each layer, and how large the blocks of time are.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/network.h"

namespace hifigan {

struct Algorithm {
  bool tiled = false;  // else direct
  Transform transform = Transform::kFft16;

  bool operator<(const Algorithm& other) const {
    return tiled != other.tiled ? tiled < other.tiled : tiled && transform < other.transform;
  }
};

// "direct", "fft8", "fft16", "fft32", "fft64".
std::string name_of(Algorithm algorithm);
// Throws std::invalid_argument for a name that is none of those.
Algorithm algorithm_named(const std::string& name);

// What a layer is to the kernels: the last one has operations of its own.
enum class Operation { kConv, kConvTranspose, kConvPost };

Operation operation_of(const Network& network, std::size_t layer);
// "conv", "conv_transpose", "conv_post".
const char* name_of(Operation operation);
// The functions that compute a layer.
const Kernels& kernels_of(const Kernels& isa, const Network& network, std::size_t layer);

struct PlannedLayer {
  std::string name;
  Operation operation;
  Algorithm algorithm;
  bool winograd;        // a transposed convolution of two taps by Winograd's F(3, 2), of weights for direct convolution
  Format format;        // of its operands
  Index rows;           // output rows per segment
  Index block_rows;     // output rows per block, at most
  double weight_bytes;  // as laid out for the algorithm
  double products;      // multiply-adds that the algorithm does per segment, those of padding counted
  double predicted_us;  // per segment, on one thread
};

struct NetworkPlan {
  int segment_frames;
  std::vector<Index> block_rows;     // per stage: input rows of its upsampling that are taken through the stage at a time
  std::vector<PlannedLayer> layers;  // as in the network
};

// Layer name, or "*" for all, to algorithm. A named layer that the algorithm cannot do is an error; "*" leaves a convolution direct,
// and of upsamplings decides only "direct".
using ForcedAlgorithms = std::map<std::string, std::string>;

// The name of its algorithm, or "winograd".
std::string algorithm_of(const PlannedLayer& layer);

// A pure function of its arguments. Throws std::invalid_argument for a segment below 1 or a forced algorithm that cannot be.
NetworkPlan make_plan(const Network& network, const Kernels& kernels, int segment_frames, const ForcedAlgorithms& forced);

}  // namespace hifigan
