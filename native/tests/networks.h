// Generators with random weights for the C++ tests and benchmarks: V1, V2 and V3 with all or some of their channels, and
// relatives with what else a network may have.
#pragma once

#include <random>
#include <string>
#include <vector>

#include "core/loaded_generator.h"

namespace hifigan {

// What of a network is not its stages: V1's, V2's and V3's by default.
struct Ends {
  PaddingMode mode = PaddingMode::kZeros;
  bool causal = false;
  int cut = 0;  // rows that a transposed convolution cuts off more at the left than at the right
  int first_kernel = 7, last_kernel = 7;
  float slope = 0.1f;
  Output output = Output::kTanh;
  int features = 0;  // of a linear layer's input; 0 for none
  bool normalised = false;
  int conditioning_channels = 0;
  std::vector<std::string> conditioned = {};
  // Of a flow in front of it.
  int couplings = 0, inner_channels = 0, gated_kernel = 0, gated_layers = 0;
};

struct RandomNetwork {
  Network network;
  std::vector<std::vector<float>> arrays;
  Parameters parameters;
};

// "mirrored", "causal" and "odd" are V1 with other ends, the last with odd rates and kernels; "voice" is V3 behind a flow with
// dilated layers, and "piper" behind the flow of VITS.
inline RandomNetwork random_network(const std::string& name, int channels, int mels, unsigned seed) {
  Ends ends;
  if (name == "mirrored") ends = {PaddingMode::kReflect, false, 0, 5, 7, 0.2f, Output::kClamp};
  if (name == "causal") {
    ends.causal = true;
    ends.slope = 0.0f;
    ends.conditioning_channels = 5;
    ends.conditioned = {"conv_pre", "ups.0", "ups.2"};
  }
  if (name == "odd") ends = {PaddingMode::kReplicate, false, 1, 1, 4, 0.1f, Output::kNone, 13, true, 3, {"ups.1"}};
  if (name == "voice") {
    ends.couplings = 3;
    ends.inner_channels = 11;
    ends.gated_kernel = 3;
    ends.gated_layers = 2;
    ends.conditioning_channels = 5;
    ends.conditioned = {"conv_pre", "flow.1.gates.0", "flow.2.gates.1"};
  }
  if (name == "piper") {
    ends.couplings = 4;
    ends.inner_channels = mels;
    ends.gated_kernel = 5;
    ends.gated_layers = 4;
  }
  const bool third = name == "v3" || ends.couplings > 0, odd = name == "odd";
  const std::vector<int> strides = third ? std::vector{8, 8, 4} : odd ? std::vector{5, 3, 2, 1} : std::vector{8, 8, 2, 2};
  const std::vector<int> kernels = third ? std::vector{3, 5, 7} : std::vector{3, 7, 11};
  const std::vector<std::vector<int>> dilations =
      third ? std::vector<std::vector<int>>{{1, 2}, {2, 6}, {3, 12}} : std::vector<std::vector<int>>(3, {1, 3, 5});
  const Activation inner{ActivationKind::kLeakyRelu, ends.slope}, last{ActivationKind::kLeakyRelu, 0.01f};
  std::vector<NetworkLayer> layers;
  const auto add = [&](NetworkLayer layer) {
    for (const std::string& conditioned : ends.conditioned) {
      if (conditioned == layer.name) layer.conditioning = "of " + conditioned;
    }
    layers.push_back(std::move(layer));
  };
  const auto conv = [&](std::string layer, int in, int out, int k, int d, Activation activation, std::vector<std::string> inputs,
                        std::optional<std::string> residual) {
    const int span = (k - 1) * d, left = ends.causal ? span : span / 2;
    add({std::move(layer), LayerKind::kConv, in, out, k, 1, d, left, span - left, activation, true, std::move(inputs),
         std::move(residual), ends.mode, {}});
  };
  if (ends.features > 0) conv("lin_pre", ends.features, mels, 1, 1, {}, {"mel"}, {});
  std::vector<std::string> halves{"mel.0", "mel.1"};
  const int half_channels = mels / 2, width = ends.inner_channels;
  for (int c = 0; c < ends.couplings; ++c) {
    const std::string flow = "flow." + std::to_string(c) + ".";
    std::string x = flow + "pre", &shifted = c % 2 ? halves.back() : halves.front();
    conv(x, half_channels, width, 1, 1, {}, {c % 2 ? halves.front() : halves.back()}, {});
    for (int i = 0; i < ends.gated_layers; ++i) {
      const std::string number = std::to_string(i), gate = flow + "gates." + number, sum = flow + "residuals." + number;
      const int dilation = name == "voice" ? 1 << i : 1;
      conv(gate, width, 2 * width, ends.gated_kernel, dilation, {}, {x}, {});
      layers.back().gated = true;
      if (i + 1 < ends.gated_layers) {
        conv(sum, width, width, 1, 1, {}, {gate}, x);
        x = sum;
      }
      conv(flow + "shifts." + number, width, half_channels, 1, 1, {}, {gate}, shifted);
      shifted = layers.back().name;
    }
  }
  std::vector<std::string> inputs{ends.features > 0 ? "lin_pre" : "mel"};
  conv("conv_pre", mels, channels, ends.first_kernel, 1, {}, ends.couplings > 0 ? halves : inputs, {});
  layers.back().joins = ends.couplings > 0;
  std::vector<std::string> values{"conv_pre"};
  int number = 0;
  for (std::size_t i = 0; i < strides.size(); ++i, channels /= 2) {
    const int stride = strides[i], half = channels / 2, k = odd ? 2 * stride + 1 : 2 * stride, spare = k - stride;
    const std::string up = "ups." + std::to_string(i);
    const int left = ends.causal ? 0 : (spare + ends.cut) / 2;
    add({up, LayerKind::kConvTranspose, channels, half, k, stride, 1, left, spare - left, inner, true, values, {},
         ends.causal ? PaddingMode::kReplicate : PaddingMode::kZeros, {}});
    values.clear();
    for (std::size_t j = 0; j < kernels.size(); ++j, ++number) {
      const std::string prefix = "resblocks." + std::to_string(number) + ".";
      std::string x = up;
      for (std::size_t m = 0; m < dilations[j].size(); ++m) {
        const int d = dilations[j][m];
        std::string y = prefix + (third ? "convs." : "convs2.") + std::to_string(m);
        const std::string between = prefix + "convs1." + std::to_string(m);
        if (!third) conv(between, half, half, kernels[j], d, inner, {x}, {});
        conv(y, half, half, kernels[j], third ? d : 1, inner, {third ? x : between}, x);
        x = y;
      }
      values.push_back(x);
    }
  }
  conv("conv_post", channels, 1, ends.last_kernel, 1, last, values, {});
  RandomNetwork made{make_network(std::move(layers), ends.output, ends.conditioning_channels), {}, {}};

  std::mt19937 random(seed);
  using Normal = std::normal_distribution<float>;
  const auto array = [&](int count, Normal& normal) {
    auto& numbers = made.arrays.emplace_back(static_cast<std::size_t>(count));
    for (float& number : numbers) number = normal(random);
    // The vectors outlive what is made from them, and their numbers stay where they are.
    return std::shared_ptr<const float>(std::shared_ptr<void>(), numbers.data());
  };
  for (const NetworkLayer& layer : made.network.layers) {
    const int in = layer.in_channels, out = layer.out_channels, k = layer.kernel_size;
    Normal small(0.0f, 0.5f / std::sqrt(static_cast<float>(in * k))), large(0.0f, 0.5f);
    LayerWeights& weights = made.parameters.layers.emplace_back();
    weights.weight = array(in * out * k, small);
    weights.bias = array(out, small);
    if (!layer.conditioning) continue;
    weights.conditioning_weight = array(out * ends.conditioning_channels, large);
    weights.conditioning_bias = array(out, large);
  }
  if (ends.normalised) {
    Normal mean(-5.0f, 1.0f), scale(2.0f, 0.1f);
    made.parameters.mean = array(made.network.bands(), mean);
    made.parameters.scale = array(made.network.bands(), scale);
  }
  return made;
}

}  // namespace hifigan
