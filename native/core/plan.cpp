#include "core/plan.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace hifigan {

namespace {

constexpr const char* kTransformNames[kTransforms] = {"fft8", "fft16", "fft32", "fft64"};

// A transform of more points has more weights: it is taken where it is foreseen to be so much faster, which is how well the model
// foresees (native/NOTES.md).
constexpr double kWorthPoints = 0.97;

// Super-rows of a block from which on Winograd's algorithm pays: of fewer, reading the weights takes longer than the products.
constexpr Index kLeastWinogradRows = 12;

// From so many rows on, memory hands over a flow's transformed weights while the products run (native/NOTES.md).
constexpr double kFlowTransformRows = 48;

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

double weight_bytes(const Kernels& kernels, double weights) { return bytes_of(kernels.operands) * weights; }

double tiled_products(const Kernels& kernels, const NetworkLayer& conv, Transform transform, const Size& size) {
  const TransformShape shape = kernels.transform_shape(transform, conv.kernel_size);
  const double phase_rows = std::ceil(size.block_rows / conv.dilation);
  const double tiles = conv.dilation * std::ceil(phase_rows / shape.outputs) * size.blocks;
  return tiles * shape.products * size.in * size.out;
}

double tiled_us(const Kernels& kernels, const NetworkLayer& conv, Transform transform, const Size& size) {
  const int i = static_cast<int>(transform);
  const Costs& costs = kernels.costs;
  const double factor = costs.factor[i] + costs.thin[i] * 32 / ((size.in + size.out) / 2);
  return tiled_products(kernels, conv, transform, size) / costs.macs_per_us * factor;
}

// Without `transforms`, direct convolution alone.
Algorithm cheapest(const Kernels& kernels, const NetworkLayer& conv, const Size& size, bool transforms, PlannedLayer& layer) {
  // Whether a cache holds the weights until the next block depends on the whole stage; V1's stages have 18 such layers.
  const auto total = [&](double arithmetic_us, double bytes) {
    return arithmetic_us + weights_us(kernels.caches, bytes, bytes * 18, size.blocks);
  };
  Algorithm best;
  layer.weight_bytes = weight_bytes(kernels, conv.kernel_size * size.in * size.out);
  layer.predicted_us =
      total(conv.kernel_size * size.segment_rows * size.in * size.out / kernels.costs.macs_per_us, layer.weight_bytes);
  for (int i = 0; transforms && i < kTransforms; ++i) {
    const auto transform = static_cast<Transform>(i);
    const TransformShape shape = kernels.transform_shape(transform, conv.kernel_size);
    if (shape.outputs == 0) continue;
    const double bytes = weight_bytes(kernels, shape.matrices * size.in * size.out);
    const double us = total(tiled_us(kernels, conv, transform, size), bytes);
    if (us < kWorthPoints * layer.predicted_us) {
      layer.predicted_us = us;
      layer.weight_bytes = bytes;
      best = {true, transform};
    }
  }
  return best;
}

bool possible(const Kernels& kernels, const NetworkLayer& conv, Algorithm algorithm) {
  return !algorithm.tiled || kernels.transform_shape(algorithm.transform, conv.kernel_size).outputs > 0;
}

class Planner {
 public:
  Planner(const Network& network, const Kernels& isa, const ForcedAlgorithms& forced)
      : network_(network), isa_(isa), forced_(forced) {}

  NetworkPlan run(int segment_frames) {
    plan_.segment_frames = segment_frames;
    // Rows that go into the next layer, per segment and per block.
    double rows = segment_frames, block = rows;
    for (std::size_t i = 0; i < network_.layers.size(); ++i) {
      const NetworkLayer& layer = network_.layers[i];
      switch (operation_of(network_, i)) {
        case Operation::kConv: add_conv(i, rows, block); break;
        case Operation::kConvTranspose:
          block = block_rows(network_.stages[plan_.block_rows.size()], rows);
          plan_.block_rows.push_back(static_cast<Index>(block));
          add_transpose(i, rows, block);
          rows *= layer.stride;
          block *= layer.stride;
          break;
        case Operation::kConvPost: add_post(i, rows, block);
      }
    }
    for (const auto& [name, algorithm] : forced_) {
      if (name == "*" || used_.count(name)) continue;
      throw std::invalid_argument("the plan names no convolution of this graph: " + name);
    }
    return plan_;
  }

 private:
  const Kernels& kernels(std::size_t layer) const { return kernels_of(isa_, network_, layer); }

  Size size_of(const NetworkLayer& layer, double rows, double block) const {
    // A segment is cut into equal blocks.
    const double blocks = std::ceil(rows / block);
    const auto padded = [&](int channels) -> double { return kernels_for(isa_, channels).padded_channels(channels); };
    return {padded(layer.in_channels), padded(layer.out_channels), rows, rows / blocks, blocks};
  }

  // Input rows of a stage's upsampling that are taken through the stage at a time.
  double block_rows(const Stage& stage, double rows) const {
    const Caches& caches = kernels(stage.upsample).caches;
    // A stage whose weights come from memory reads them once per segment. They are counted as if all of them were transformed
    // in the middle size.
    double bytes = 0;
    for (std::size_t i = stage.upsample + 1; i < stage.end; ++i) {
      const Size size = size_of(network_.layers[i], 1, 1);
      const bool transforms = kernels(i).transform_shape(Transform::kFft16, 3).outputs > 0;
      bytes += weight_bytes(kernels(i), (transforms ? 25 : network_.layers[i].kernel_size) * size.in * size.out);
    }
    if (bytes > caches.last_bytes) return rows;
    const NetworkLayer& up = network_.layers[stage.upsample];
    const double row_bytes = sizeof(float) * size_of(up, 1, 1).out;
    return std::clamp(std::floor(caches.block_bytes / row_bytes / up.stride), 1.0, rows);
  }

  void add_conv(std::size_t i, double rows, double block) {
    const NetworkLayer& conv = network_.layers[i];
    const Size size = size_of(conv, rows, block);
    PlannedLayer layer = entry(i, size);
    // What transforms round before the first upsampling costs 1 to 2 dB of the audio, direct convolution a thousandth of the time.
    const bool transforms = !network_.in_flow(i) && i > network_.stages.front().upsample;
    layer.algorithm = cheapest(kernels(i), conv, size, transforms, layer);
    if (transformed_in_flow(i, size)) {
      layer.algorithm = {true, Transform::kFft8};
      predict(kernels(i), conv, size, layer);
    }
    const auto named = forced_.find(conv.name), all = forced_.find("*");
    if (named != forced_.end()) {
      layer.algorithm = algorithm_named(named->second);
      used_[conv.name] = true;
      if (!possible(kernels(i), conv, layer.algorithm)) {
        throw std::invalid_argument("layer " + conv.name + " with kernel " + std::to_string(conv.kernel_size) +
                                    " cannot be computed by " + named->second + " on " + kernels(i).name);
      }
    } else if (all != forced_.end()) {
      const Algorithm algorithm = algorithm_named(all->second);
      layer.algorithm = possible(kernels(i), conv, algorithm) ? algorithm : Algorithm{};
    }
    if (named != forced_.end() || all != forced_.end()) predict(kernels(i), conv, size, layer);
    layer.products = layer.algorithm.tiled ? tiled_products(kernels(i), conv, layer.algorithm.transform, size)
                                           : conv.kernel_size * size.segment_rows * size.in * size.out;
    plan_.layers.push_back(layer);
  }

  // What a flow rounds, the layers behind it amplify: transforms in its earlier half would cost 3 to 5 dB of the audio. In its
  // later half the smallest transform costs 0.4 to 1.1 dB on average (native/NOTES.md).
  bool transformed_in_flow(std::size_t i, const Size& size) const {
    const NetworkLayer& conv = network_.layers[i];
    return network_.in_flow(i) && 2 * i >= network_.first_number && conv.kernel_size > 1 &&
           size.segment_rows >= kFlowTransformRows && possible(kernels(i), conv, {true, Transform::kFft8});
  }

  static void predict(const Kernels& kernels, const NetworkLayer& conv, const Size& size, PlannedLayer& layer) {
    const bool tiled = layer.algorithm.tiled;
    const double matrices =  // of direct convolution one per tap
        tiled ? kernels.transform_shape(layer.algorithm.transform, conv.kernel_size).matrices : conv.kernel_size;
    layer.weight_bytes = weight_bytes(kernels, matrices * size.in * size.out);
    layer.predicted_us = tiled ? tiled_us(kernels, conv, layer.algorithm.transform, size)
                               : matrices * size.segment_rows * size.in * size.out / kernels.costs.macs_per_us;
  }

  void add_transpose(std::size_t i, double rows, double block) {
    const NetworkLayer& up = network_.layers[i];
    const Size size = size_of(up, rows, block);
    PlannedLayer layer = entry(i, size);
    const double macs = up.taps() * up.stride * size.in * size.out;
    layer.weight_bytes = weight_bytes(kernels(i), macs);
    const bool possible = up.taps() == 2 && kernels(i).operands == Format::kFloat32;
    const auto named = forced_.find(up.name), all = forced_.find("*");
    if (named != forced_.end()) {
      used_[up.name] = true;
      layer.winograd = named->second == "winograd";
      if (layer.winograd ? !possible : named->second != "direct") {
        throw std::invalid_argument("upsampling " + up.name + " with kernel " + std::to_string(up.kernel_size) + " and rate " +
                                    std::to_string(up.stride) + " cannot be computed by " + named->second + " on " +
                                    kernels(i).name + ": choose direct" + (possible ? " or winograd" : ""));
      }
    } else {
      layer.winograd = possible && layer.block_rows >= kLeastWinogradRows && !(all != forced_.end() && all->second == "direct");
    }
    layer.products = macs * (layer.winograd ? std::ceil(size.block_rows / kWinogradRows) * size.blocks * 4 / 2 : size.segment_rows);
    layer.predicted_us = layer.products / kernels(i).costs.macs_per_us +
                         weights_us(kernels(i).caches, layer.weight_bytes, layer.weight_bytes, size.blocks);
    layer.rows *= up.stride;
    layer.block_rows *= up.stride;
    plan_.layers.push_back(layer);
  }

  void add_post(std::size_t i, double rows, double block) {
    const NetworkLayer& conv = network_.layers[i];
    const Size size = size_of(conv, rows, block);
    PlannedLayer layer = entry(i, size);
    const double macs = conv.kernel_size * size.in;
    layer.weight_bytes = weight_bytes(kernels(i), macs);
    layer.products = rows * macs;
    // No product of matrices: the input is read once per tap, and half of the speed is lost in adding up lanes.
    layer.predicted_us = 2 * rows * macs / kernels(i).costs.macs_per_us;
    plan_.layers.push_back(layer);
  }

  PlannedLayer entry(std::size_t i, const Size& size) const {
    const Operation operation = operation_of(network_, i);
    const Format format = operation == Operation::kConvPost ? Format::kFloat32 : kernels(i).operands;
    return {network_.layers[i].name, operation, {}, false, format, static_cast<Index>(size.segment_rows),
            static_cast<Index>(size.block_rows), 0, 0, 0};
  }

  const Network& network_;
  const Kernels& isa_;
  const ForcedAlgorithms& forced_;
  std::map<std::string, bool> used_;
  NetworkPlan plan_;
};

}  // namespace

Operation operation_of(const Network& network, std::size_t layer) {
  if (layer + 1 == network.layers.size()) return Operation::kConvPost;
  return network.layers[layer].kind == LayerKind::kConv ? Operation::kConv : Operation::kConvTranspose;
}

const char* name_of(Operation operation) {
  switch (operation) {
    case Operation::kConv: return "conv";
    case Operation::kConvTranspose: return "conv_transpose";
    case Operation::kConvPost: return "conv_post";
  }
  return "";
}

const Kernels& kernels_of(const Kernels& isa, const Network& network, std::size_t layer) {
  const NetworkLayer& at = network.layers[layer];
  // Layers of a flow pass rows on among each other, so one padding suits all of them.
  if (network.in_flow(layer)) return isa;
  if (isa.finer && layer <= network.stages.front().upsample) return *isa.finer;
  return kernels_for(isa, operation_of(network, layer) == Operation::kConvPost ? at.in_channels : at.out_channels);
}

std::string name_of(Algorithm algorithm) {
  return algorithm.tiled ? kTransformNames[static_cast<int>(algorithm.transform)] : "direct";
}

std::string algorithm_of(const PlannedLayer& layer) { return layer.winograd ? "winograd" : name_of(layer.algorithm); }

Algorithm algorithm_named(const std::string& name) {
  if (name == "direct") return {};
  for (int i = 0; i < kTransforms; ++i) {
    if (name == kTransformNames[i]) return {true, static_cast<Transform>(i)};
  }
  throw std::invalid_argument("no convolution is computed by " + name + ": choose direct, fft8, fft16, fft32 or fft64");
}

NetworkPlan make_plan(const Network& network, const Kernels& kernels, int segment_frames, const ForcedAlgorithms& forced) {
  if (segment_frames < 1) {
    throw std::invalid_argument("segment_frames=" + std::to_string(segment_frames) + " must be at least 1");
  }
  return Planner(network, kernels, forced).run(segment_frames);
}

}  // namespace hifigan
