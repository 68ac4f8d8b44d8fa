// Generators with random weights for the C++ tests and benchmarks: V1, V2 and V3 with all or some of their channels.
#pragma once

#include <random>
#include <string>
#include <vector>

#include "core/loaded_generator.h"

namespace hifigan {

struct RandomNetwork {
  Network network;
  std::vector<std::vector<float>> parameters;
  std::vector<LayerWeights> sources;
};

inline RandomNetwork random_network(const std::string& name, int channels, int mels, unsigned seed) {
  const bool third = name == "v3";
  const std::vector<int> strides = third ? std::vector{8, 8, 4} : std::vector{8, 8, 2, 2};
  const std::vector<int> kernels = third ? std::vector{3, 5, 7} : std::vector{3, 7, 11};
  const std::vector<std::vector<int>> dilations =
      third ? std::vector<std::vector<int>>{{1, 2}, {2, 6}, {3, 12}} : std::vector<std::vector<int>>(3, {1, 3, 5});
  const Activation inner{ActivationKind::kLeakyRelu, 0.1f}, last{ActivationKind::kLeakyRelu, 0.01f};
  std::vector<NetworkLayer> layers;
  const auto conv = [&](std::string layer, int in, int out, int k, int d, Activation activation, std::vector<std::string> inputs,
                        std::optional<std::string> residual) {
    const int padding = (k - 1) * d / 2;
    layers.push_back({std::move(layer), LayerKind::kConv, in, out, k, 1, d, padding, padding, activation, true, std::move(inputs),
                      std::move(residual)});
  };
  conv("conv_pre", mels, channels, 7, 1, {}, {"mel"}, {});
  std::vector<std::string> values{"conv_pre"};
  int number = 0;
  for (std::size_t i = 0; i < strides.size(); ++i, channels /= 2) {
    const int stride = strides[i], half = channels / 2;
    const std::string up = "ups." + std::to_string(i);
    layers.push_back({up, LayerKind::kConvTranspose, channels, half, 2 * stride, stride, 1, stride / 2, stride / 2, inner, true,
                      values, {}});
    values.clear();
    for (std::size_t j = 0; j < kernels.size(); ++j, ++number) {
      const int k = kernels[j];
      const std::string prefix = "resblocks." + std::to_string(number) + ".";
      std::string x = up;
      for (std::size_t m = 0; m < dilations[j].size(); ++m) {
        const int d = dilations[j][m];
        std::string y = prefix + (third ? "convs." : "convs2.") + std::to_string(m);
        const std::string between = prefix + "convs1." + std::to_string(m);
        if (!third) conv(between, half, half, k, d, inner, {x}, {});
        conv(y, half, half, k, third ? d : 1, inner, {third ? x : between}, x);
        x = y;
      }
      values.push_back(x);
    }
  }
  conv("conv_post", channels, 1, 7, 1, last, values, {});
  RandomNetwork made{make_network(std::move(layers)), {}, {}};

  std::mt19937 random(seed);
  const auto add = [&](int in, int out, int k) {
    std::normal_distribution<float> normal(0.0f, 0.5f / std::sqrt(static_cast<float>(in * k)));
    for (const int count : {in * out * k, out}) {
      auto& numbers = made.parameters.emplace_back(static_cast<std::size_t>(count));
      for (float& parameter : numbers) parameter = normal(random);
    }
  };
  for (const NetworkLayer& layer : made.network.layers) add(layer.in_channels, layer.out_channels, layer.kernel_size);
  // The vectors outlive what is made from them.
  const auto parameter = [&](std::size_t i) {
    return std::shared_ptr<const float>(std::shared_ptr<void>(), made.parameters[i].data());
  };
  for (std::size_t i = 0; i < made.parameters.size(); i += 2) {
    made.sources.push_back({parameter(i), parameter(i + 1)});
  }
  return made;
}

}  // namespace hifigan
