#include "core/plan.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace hifigan {

namespace {

constexpr const char* kTransformNames[kTransforms] = {"fft8", "fft16", "fft32", "fft64"};

struct Size {
  double in, out;  // padded channels
  double segment_rows, block_rows;
  double blocks;
};

// Time to fetch a layer's weights, once per block; those of its stage are `stage_bytes` together.
double weights_us(const Caches& caches, double bytes, double stage_bytes, double blocks) {
  const double first = stage_bytes > caches.last_bytes ? caches.memory_bytes_per_us : caches.cache_bytes_per_us;
  return bytes / first + bytes * (blocks - 1) / caches.cache_bytes_per_us;
}

double weight_bytes(const Kernels& kernels, double weights) { return bytes_of(kernels.weights) * weights; }

double tiled_us(const Kernels& kernels, const Conv& conv, Transform transform, const Size& size) {
  const TransformShape shape = kernels.transform_shape(transform, conv.kernel_size);
  const double phase_rows = std::ceil(size.block_rows / conv.dilation);
  const double tiles = conv.dilation * std::ceil(phase_rows / shape.outputs) * size.blocks;
  const int i = static_cast<int>(transform);
  const Costs& costs = kernels.costs;
  const double factor = costs.factor[i] + costs.thin[i] * 32 / ((size.in + size.out) / 2);
  return tiles * shape.products * size.in * size.out / costs.macs_per_us * factor;
}

Algorithm cheapest(const Kernels& kernels, const Conv& conv, const Size& size, LayerPlan& layer) {
  // Whether a cache holds the weights until the next block depends on the whole stage; V1's stages have 18 such layers.
  const auto total = [&](double arithmetic_us, double bytes) {
    return arithmetic_us + weights_us(kernels.caches, bytes, bytes * 18, size.blocks);
  };
  Algorithm best;
  layer.weight_bytes = weight_bytes(kernels, conv.kernel_size * size.in * size.out);
  layer.predicted_us =
      total(conv.kernel_size * size.segment_rows * size.in * size.out / kernels.costs.macs_per_us, layer.weight_bytes);
  for (int i = 0; i < kTransforms; ++i) {
    const auto transform = static_cast<Transform>(i);
    const TransformShape shape = kernels.transform_shape(transform, conv.kernel_size);
    if (shape.outputs == 0) continue;
    const double bytes = weight_bytes(kernels, shape.products * size.in * size.out);
    const double us = total(tiled_us(kernels, conv, transform, size), bytes);
    if (us < layer.predicted_us) {
      layer.predicted_us = us;
      layer.weight_bytes = bytes;
      best = {true, transform};
    }
  }
  return best;
}

bool possible(const Kernels& kernels, const Conv& conv, Algorithm algorithm) {
  return !algorithm.tiled || kernels.transform_shape(algorithm.transform, conv.kernel_size).outputs > 0;
}

class Planner {
 public:
  Planner(const Graph& graph, const Kernels& isa, const ForcedAlgorithms& forced) : graph_(graph), isa_(isa), forced_(forced) {}

  Plan run(int segment_frames) {
    plan_.segment_frames = segment_frames;
    double rows = segment_frames;
    add_conv(graph_.pre, size_of(graph_.pre.in_channels, graph_.pre.out_channels, rows, rows));
    for (const Stage& stage : graph_.stages) {
      const ConvTranspose& up = stage.upsample;
      const Caches& caches = kernels_for(isa_, up.out_channels).caches;
      const double row_bytes = sizeof(float) * padded(up.out_channels);
      // A stage whose weights come from memory reads them once per segment.
      const bool whole = stage_bytes(stage) > caches.last_bytes;
      const double block = whole ? rows : std::clamp(std::floor(caches.block_bytes / row_bytes / up.rate), 1.0, rows);
      plan_.block_rows.push_back(static_cast<Index>(block));
      add_transpose(up, size_of(up.in_channels, up.out_channels, rows, block));
      rows *= up.rate;
      for (const Resblock& resblock : stage.resblocks) {
        for (const auto& unit : resblock.units) {
          for (const Conv& conv : unit) add_conv(conv, size_of(conv.in_channels, conv.out_channels, rows, block * up.rate));
        }
      }
    }
    add_post(graph_.post, rows);
    for (const auto& [name, algorithm] : forced_) {
      if (name != "*" && !used_.count(name)) throw std::invalid_argument("the plan names no convolution of this graph: " + name);
    }
    return plan_;
  }

 private:
  double padded(int channels) const { return kernels_for(isa_, channels).padded_channels(channels); }

  Size size_of(int in, int out, double rows, double block) const {
    // A walk cuts a segment into equal blocks.
    const double blocks = std::ceil(rows / block);
    return {padded(in), padded(out), rows, rows / blocks, blocks};
  }

  // Of the residual blocks' weights, if all of them were transformed in the middle size.
  double stage_bytes(const Stage& stage) const {
    double bytes = 0;
    for (const Resblock& resblock : stage.resblocks) {
      for (const auto& unit : resblock.units) {
        for (const Conv& conv : unit) {
          bytes += weight_bytes(kernels_for(isa_, conv.out_channels), 25 * padded(conv.in_channels) * padded(conv.out_channels));
        }
      }
    }
    return bytes;
  }

  void add_conv(const Conv& conv, const Size& size) {
    LayerPlan layer = entry(conv.name, "conv", size);
    const Kernels& kernels = kernels_for(isa_, conv.out_channels);
    layer.algorithm = cheapest(kernels, conv, size, layer);
    const auto named = forced_.find(conv.name), all = forced_.find("*");
    if (named != forced_.end()) {
      layer.algorithm = algorithm_named(named->second);
      used_[conv.name] = true;
      if (!possible(kernels, conv, layer.algorithm)) {
        throw std::invalid_argument("layer " + conv.name + " with kernel " + std::to_string(conv.kernel_size) +
                                    " cannot be computed by " + named->second + " on " + kernels.name);
      }
    } else if (all != forced_.end()) {
      const Algorithm algorithm = algorithm_named(all->second);
      layer.algorithm = possible(kernels, conv, algorithm) ? algorithm : Algorithm{};
    }
    if (named != forced_.end() || all != forced_.end()) predict_forced(kernels, conv, size, layer);
    plan_.layers.push_back(layer);
  }

  static void predict_forced(const Kernels& kernels, const Conv& conv, const Size& size, LayerPlan& layer) {
    const bool tiled = layer.algorithm.tiled;
    const double products =
        tiled ? kernels.transform_shape(layer.algorithm.transform, conv.kernel_size).products : conv.kernel_size;
    layer.weight_bytes = weight_bytes(kernels, products * size.in * size.out);
    layer.predicted_us = tiled ? tiled_us(kernels, conv, layer.algorithm.transform, size)
                               : products * size.segment_rows * size.in * size.out / kernels.costs.macs_per_us;
  }

  void add_transpose(const ConvTranspose& up, const Size& size) {
    LayerPlan layer = entry(up.name, "conv_transpose", size);
    layer.rows *= up.rate;
    layer.block_rows *= up.rate;
    const Kernels& kernels = kernels_for(isa_, up.out_channels);
    const double macs = up.taps() * up.rate * size.in * size.out;
    layer.weight_bytes = weight_bytes(kernels, macs);
    layer.predicted_us = size.segment_rows * macs / kernels.costs.macs_per_us +
                         weights_us(kernels.caches, layer.weight_bytes, layer.weight_bytes, size.blocks);
    plan_.layers.push_back(layer);
  }

  void add_post(const Conv& conv, double rows) {
    LayerPlan layer = entry(conv.name, "conv_post", size_of(conv.in_channels, 1, rows, rows));
    const Kernels& kernels = kernels_for(isa_, conv.in_channels);
    const double macs = conv.kernel_size * padded(conv.in_channels);
    layer.weight_bytes = weight_bytes(kernels, macs);
    // No product of matrices: the input is read once per tap, and half of the speed is lost in adding up lanes.
    layer.predicted_us = 2 * rows * macs / kernels.costs.macs_per_us;
    plan_.layers.push_back(layer);
  }

  LayerPlan entry(const std::string& name, const char* kind, const Size& size) const {
    return {name, kind, {}, static_cast<Index>(size.segment_rows), static_cast<Index>(size.block_rows), 0, 0};
  }

  const Graph& graph_;
  const Kernels& isa_;
  const ForcedAlgorithms& forced_;
  std::map<std::string, bool> used_;
  Plan plan_;
};

}  // namespace

std::string name_of(Algorithm algorithm) {
  return algorithm.tiled ? kTransformNames[static_cast<int>(algorithm.transform)] : "direct";
}

Algorithm algorithm_named(const std::string& name) {
  if (name == "direct") return {};
  for (int i = 0; i < kTransforms; ++i) {
    if (name == kTransformNames[i]) return {true, static_cast<Transform>(i)};
  }
  throw std::invalid_argument("no algorithm is named " + name +
                              ": choose direct, fft8, fft16, fft32 or fft64");
}

Plan make_plan(const Graph& graph, const Kernels& kernels, int segment_frames, const ForcedAlgorithms& forced) {
  if (segment_frames < 1) throw std::invalid_argument("segment_frames=" + std::to_string(segment_frames) + " must be at least 1");
  return Planner(graph, kernels, forced).run(segment_frames);
}

}  // namespace hifigan
