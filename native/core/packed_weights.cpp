#include "core/packed_weights.h"

#include <algorithm>

namespace hifigan {

PackedWeights::PackedWeights(const Graph& graph, const Kernels& isa, std::vector<LayerWeights> sources)
    : sources_(std::move(sources)) {
  const auto add = [&](Kind kind, const auto& layer, int rate) {
    const Kernels& kernels = kernels_for(isa, kind == Kind::kPost ? layer.in_channels : layer.out_channels);
    layers_.push_back({&kernels, kind, layer.in_channels, layer.out_channels, layer.kernel_size, rate});
    const auto channels = static_cast<std::size_t>(layer.out_channels);
    biases_.emplace_back(static_cast<std::size_t>(kernels.padded_channels(layer.out_channels)), true);
    std::copy_n(sources_.at(layers_.size() - 1).bias.get(), channels, biases_.back().data());
  };
  add(Kind::kConv, graph.pre, 1);
  for (const Stage& stage : graph.stages) {
    add(Kind::kTranspose, stage.upsample, stage.upsample.rate);
    for (const Resblock& resblock : stage.resblocks) {
      for (const auto& unit : resblock.units) {
        for (const Conv& conv : unit) add(Kind::kConv, conv, 1);
      }
    }
  }
  add(Kind::kPost, graph.post, 1);
}

std::size_t PackedWeights::size_of(const Layer& layer, Algorithm algorithm) const {
  const auto [kernels, kind, in, out, k, rate] = layer;
  if (kind == Kind::kPost) return kernels->post_weights_size(in, k);
  if (kind == Kind::kTranspose) return kernels->transpose_weights_size(in, out, k, rate);
  if (algorithm.tiled) return kernels->tiled_weights_size(algorithm.transform, in, out);
  return kernels->direct_weights_size(in, out, k);
}

void PackedWeights::add_jobs(const Layer& layer, const LayerWeights& source, Algorithm algorithm, float* out,
                             std::vector<Job>& jobs) const {
  const auto [kernels, kind, in, n_out, k, rate] = layer;
  int units = 1;
  auto pack = kernels->pack_post;
  if (kind == Kind::kTranspose) {
    units = kernels->transpose_pack_units(in, n_out, k, rate);
    pack = kernels->pack_transpose;
  } else if (kind == Kind::kConv && algorithm.tiled) {
    units = kernels->tiled_pack_units(algorithm.transform, in, n_out);
    pack = kernels->pack_tiled;
  } else if (kind == Kind::kConv) {
    units = kernels->direct_pack_units(in, n_out, k);
    pack = kernels->pack_direct;
  }
  // A layer is cut in a few pieces: enough to share, few enough to be worth a call.
  const int pieces = std::min(units, 8);
  for (int i = 0; i < pieces; ++i) {
    jobs.push_back({pack,
                    {source.weight.get(), in, n_out, k, rate, algorithm.transform, out, units * i / pieces,
                     units * (i + 1) / pieces}});
  }
}

void PackedWeights::prepare(const Plan& plan, ThreadPool& pool) {
  std::map<std::pair<std::size_t, Algorithm>, AlignedBuffer> fresh;
  std::vector<Job> jobs;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const Algorithm algorithm = plan.layers.at(i).algorithm;
    if (packed_.count({i, algorithm})) continue;
    AlignedBuffer buffer(size_of(layers_[i], algorithm));
    add_jobs(layers_[i], sources_[i], algorithm, buffer.data(), jobs);
    fresh.emplace(std::pair{i, algorithm}, std::move(buffer));
  }
  pool.loop(static_cast<Index>(jobs.size()), [&](Index job, int) {
    const Job& one = jobs[static_cast<std::size_t>(job)];
    one.pack(one.args);
  });
  packed_.merge(fresh);
}

std::size_t PackedWeights::bytes() const {
  std::size_t sum = 0;
  for (const auto& [key, buffer] : packed_) sum += buffer.bytes();
  return sum;
}

}  // namespace hifigan
