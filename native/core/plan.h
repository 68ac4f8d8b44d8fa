// Which algorithm computes each layer, and how large the blocks of time are.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/graph.h"

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

struct LayerPlan {
  std::string name;
  std::string kind;  // "conv", "conv_transpose" or "conv_post"
  Algorithm algorithm;
  Index rows;           // output rows per segment
  Index block_rows;     // output rows per block, at most
  double weight_bytes;  // as laid out for the algorithm
  double predicted_us;  // per segment, on one thread
};

struct Plan {
  int segment_frames;
  std::vector<Index> block_rows;  // per stage: input rows of its upsampling that are taken through the stage at a time
  std::vector<LayerPlan> layers;  // in the order of the walk: pre, then per stage the upsampling and all units, then post
};

// Layer name, or "*" for all, to algorithm. A named layer that the algorithm cannot do is an error; "*" leaves it direct.
using ForcedAlgorithms = std::map<std::string, std::string>;

// A pure function of its arguments. Throws std::invalid_argument for a segment below 1 or a forced algorithm that cannot be.
Plan make_plan(const Graph& graph, const Kernels& kernels, int segment_frames, const ForcedAlgorithms& forced);

}  // namespace hifigan
