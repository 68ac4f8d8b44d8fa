#include "core/packed_weights.h"

#include <algorithm>

namespace hifigan {

std::size_t Biases::bytes() const {
  std::size_t sum = 0;
  for (const AlignedBuffer& buffer : conditioned_) sum += buffer.bytes();
  return sum;
}

PackedWeights::PackedWeights(const Network& network, const Kernels& isa, Parameters sources)
    : network_(network), isa_(isa), sources_(std::move(sources)) {
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    const int channels = network.layers[i].out_channels;
    biases_.emplace_back(static_cast<std::size_t>(kernels_of(isa, network, i).padded_channels(channels)), true);
    const float* bias = sources_.layers.at(i).bias.get();
    if (bias) std::copy_n(bias, channels, biases_.back().data());
  }
}

Biases PackedWeights::biases(const float* conditioning) const {
  Biases made;
  for (std::size_t i = 0; i < network_.layers.size(); ++i) {
    const NetworkLayer& layer = network_.layers[i];
    made.biases_.push_back(biases_[i].data());
    if (!layer.conditioning) continue;
    const LayerWeights& source = sources_.layers[i];
    AlignedBuffer& sums = made.conditioned_.emplace_back(biases_[i].bytes() / sizeof(float), true);
    const int channels = network_.conditioning_channels;
    for (int c = 0; c < layer.out_channels; ++c) {
      // A sum of three parts, rounded once.
      double sum = static_cast<double>(biases_[i].data()[c]);
      if (source.conditioning_bias) sum += static_cast<double>(source.conditioning_bias.get()[c]);
      const float* weights = source.conditioning_weight.get() + Index{c} * channels;
      for (int g = 0; g < channels; ++g) sum += static_cast<double>(weights[g]) * static_cast<double>(conditioning[g]);
      sums.data()[c] = static_cast<float>(sum);
    }
    made.biases_.back() = sums.data();
  }
  return made;
}

PackedWeights::Packing PackedWeights::packing_of(std::size_t layer, Algorithm algorithm) const {
  const Kernels& kernels = kernels_of(isa_, network_, layer);
  const NetworkLayer& at = network_.layers[layer];
  const int in = at.in_channels, out = at.out_channels, k = at.kernel_size;
  switch (operation_of(network_, layer)) {
    case Operation::kConv:
      if (!algorithm.tiled) {
        return {kernels.direct_weights_size(in, out, k), kernels.direct_pack_units(in, out, k), kernels.pack_direct};
      }
      return {kernels.tiled_weights_size(algorithm.transform, in, out), kernels.tiled_pack_units(algorithm.transform, in, out),
              kernels.pack_tiled};
    case Operation::kConvTranspose:
      return {kernels.transpose_weights_size(in, out, k, at.stride), kernels.transpose_pack_units(in, out, k, at.stride),
              kernels.pack_transpose};
    case Operation::kConvPost: break;
  }
  return {kernels.post_weights_size(in, k), 1, kernels.pack_post};
}

void PackedWeights::prepare(const NetworkPlan& plan, ThreadPool& pool) {
  std::map<std::pair<std::size_t, Algorithm>, std::size_t> fresh;  // where each begins
  std::size_t floats = 0;
  for (std::size_t i = 0; i < network_.layers.size(); ++i) {
    const Algorithm algorithm = plan.layers.at(i).algorithm;
    if (packed_.count({i, algorithm})) continue;
    fresh[{i, algorithm}] = floats;
    floats += whole_lines(packing_of(i, algorithm).size);
  }
  if (fresh.empty()) return;
  AlignedBuffer buffer(floats);
  std::vector<std::pair<void (*)(const PackArgs&), PackArgs>> jobs;
  for (const auto& [key, begin] : fresh) {
    const auto [i, algorithm] = key;
    const Packing packing = packing_of(i, algorithm);
    const NetworkLayer& layer = network_.layers[i];
    // A layer is cut in a few pieces: enough to share, few enough to be worth a call.
    const int pieces = std::min(packing.units, 8);
    for (int piece = 0; piece < pieces; ++piece) {
      jobs.push_back({packing.pack,
                      {sources_.layers[i].weight.get(), layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride,
                       algorithm.transform, buffer.data() + begin, packing.units * piece / pieces,
                       packing.units * (piece + 1) / pieces}});
    }
  }
  pool.loop(static_cast<Index>(jobs.size()), [&](Index job, int) {
    const auto& [pack, args] = jobs[static_cast<std::size_t>(job)];
    pack(args);
  });
  const float* const data = buffers_.emplace_back(std::move(buffer)).data();
  for (const auto& [key, begin] : fresh) packed_[key] = data + begin;
}

std::size_t PackedWeights::bytes() const {
  std::size_t sum = 0;
  for (const AlignedBuffer& buffer : buffers_) sum += buffer.bytes();
  return sum;
}

std::vector<const AlignedBuffer*> PackedWeights::buffers() const {
  std::vector<const AlignedBuffer*> all;
  for (const AlignedBuffer& buffer : buffers_) all.push_back(&buffer);
  return all;
}

}  // namespace hifigan
