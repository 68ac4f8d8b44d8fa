// Generators with random weights for the C++ tests and benchmarks: V1, V2 and V3 with all or some of their channels.
#pragma once

#include <random>
#include <string>
#include <vector>

#include "core/loaded_generator.h"

namespace hifigan {

struct Network {
  Graph graph;
  std::vector<std::vector<float>> parameters;
  std::vector<LayerWeights> sources;
};

inline Network random_network(const std::string& name, int channels, int mels, unsigned seed) {
  const bool third = name == "v3";
  const std::vector<int> rates = third ? std::vector{8, 8, 4} : std::vector{8, 8, 2, 2};
  const std::vector<int> kernels = third ? std::vector{3, 5, 7} : std::vector{3, 7, 11};
  const std::vector<std::vector<int>> dilations =
      third ? std::vector<std::vector<int>>{{1, 2}, {2, 6}, {3, 12}} : std::vector<std::vector<int>>(3, {1, 3, 5});
  Network network{{{"conv_pre", mels, channels, 7, 1, 3}, {}, {}, 0.1f, 0.01f}, {}, {}};
  int number = 0;
  for (std::size_t i = 0; i < rates.size(); ++i) {
    Stage stage{{"ups." + std::to_string(i), channels, channels / 2, 2 * rates[i], rates[i], rates[i] / 2}, {}};
    channels /= 2;
    for (std::size_t j = 0; j < kernels.size(); ++j, ++number) {
      Resblock resblock;
      const int k = kernels[j];
      const std::string prefix = "resblocks." + std::to_string(number) + ".";
      for (std::size_t m = 0; m < dilations[j].size(); ++m) {
        const int d = dilations[j][m];
        const Conv first{prefix + (third ? "convs." : "convs1.") + std::to_string(m), channels, channels, k, d, (k - 1) * d / 2};
        const Conv second{prefix + "convs2." + std::to_string(m), channels, channels, k, 1, (k - 1) / 2};
        resblock.units.push_back(third ? std::vector{first} : std::vector{first, second});
      }
      stage.resblocks.push_back(resblock);
    }
    network.graph.stages.push_back(stage);
  }
  network.graph.post = {"conv_post", channels, 1, 7, 1, 3};

  std::mt19937 random(seed);
  const auto add = [&](int in, int out, int k) {
    std::normal_distribution<float> normal(0.0f, 0.5f / std::sqrt(static_cast<float>(in * k)));
    for (const int count : {in * out * k, out}) {
      auto& values = network.parameters.emplace_back(static_cast<std::size_t>(count));
      for (float& value : values) value = normal(random);
    }
  };
  add(mels, network.graph.pre.out_channels, 7);
  for (const Stage& stage : network.graph.stages) {
    add(stage.upsample.in_channels, stage.upsample.out_channels, stage.upsample.kernel_size);
    for (const Resblock& resblock : stage.resblocks) {
      for (const auto& unit : resblock.units) {
        for (const Conv& conv : unit) add(conv.in_channels, conv.out_channels, conv.kernel_size);
      }
    }
  }
  add(channels, 1, 7);
  // The vectors outlive what is made from them.
  const auto parameter = [&](std::size_t i) { return std::shared_ptr<const float>(std::shared_ptr<void>(), network.parameters[i].data()); };
  for (std::size_t i = 0; i < network.parameters.size(); i += 2) {
    network.sources.push_back({parameter(i), parameter(i + 1)});
  }
  return network;
}

}  // namespace hifigan
