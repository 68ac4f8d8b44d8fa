#include "core/program.h"

#include <algorithm>

namespace hifigan {

Program::Program(const Graph& graph, const Kernels& isa, Plan plan, const PackedWeights& weights)
    : graph_(graph),
      isa_(isa),
      plan_(std::move(plan)),
      mel_channels_(kernels_for(isa, graph.pre.out_channels).padded_channels(graph.pre.in_channels)),
      pre_channels_(kernels_for(isa, graph.pre.out_channels).padded_channels(graph.pre.out_channels)) {
  std::size_t layer = 0;
  const Index segment = plan_.segment_frames;
  // A walk takes up to one segment at a time; what a layer keeps behind comes on top.
  mel_rows_ = segment + 2 * graph.pre.span() + 1;
  add_carry(2 * graph.pre.span() + 1, mel_channels_, graph.pre.padding);
  pre_ = conv_step(graph.pre, layer, weights);
  const int taps = graph.stages.front().upsample.taps();
  pre_rows_ = segment + graph.pre.span() + 2 * taps + 1;
  add_carry(2 * taps + 1, pre_channels_, taps);
  for (std::size_t i = 0; i < graph.stages.size(); ++i) {
    stages_.push_back(stage_step(graph.stages[i], i, layer, weights));
  }
  const Kernels& kernels = kernels_for(isa, graph.post.in_channels);
  post_ = {&graph.post, &kernels, layer, {}, {}, weights.weights(layer, {}), weights.bias(layer)};
  scratch_floats_ = std::max(scratch_floats_, kernels.post_scratch_size(graph.post.in_channels, graph.post.kernel_size));
}

ConvStep Program::conv_step(const Conv& conv, std::size_t& layer, const PackedWeights& weights) {
  const Algorithm algorithm = plan_.layers.at(layer).algorithm;
  const Kernels& kernels = kernels_for(isa_, conv.out_channels);
  ConvStep step{&conv, &kernels, layer, algorithm, {}, weights.weights(layer, algorithm), weights.bias(layer)};
  std::size_t scratch;
  if (algorithm.tiled) {
    step.shape = kernels.transform_shape(algorithm.transform, conv.kernel_size);
    scratch = kernels.tiled_scratch_size(algorithm.transform, conv.in_channels, conv.out_channels);
  } else {
    scratch = kernels.direct_scratch_size(conv.in_channels, conv.out_channels, conv.kernel_size, conv.dilation);
  }
  scratch_floats_ = std::max(scratch_floats_, scratch);
  ++layer;
  return step;
}

StageStep Program::stage_step(const Stage& stage, std::size_t index, std::size_t& layer, const PackedWeights& weights) {
  const ConvTranspose& up = stage.upsample;
  const Kernels& kernels = kernels_for(isa_, up.out_channels);
  StageStep step{};
  step.kernels = &kernels;
  step.upsample = &up;
  step.layer = layer;
  step.weights = weights.weights(layer, {});
  step.bias = weights.bias(layer);
  ++layer;
  scratch_floats_ = std::max(
      scratch_floats_, kernels.transpose_scratch_size(up.in_channels, up.out_channels, up.kernel_size, up.rate));
  step.channels = kernels.padded_channels(up.out_channels);
  step.block = plan_.block_rows.at(index);
  const bool last = index + 1 == graph_.stages.size();
  step.consumer_taps = last ? graph_.post.span() : graph_.stages[index + 1].upsample.taps();

  int widest = 0, least_lag = stage.resblocks.front().lag(), most_lag = 0;
  for (const Resblock& resblock : stage.resblocks) {
    ResblockStep steps{{}, resblock.lag()};
    least_lag = std::min(least_lag, steps.lag);
    most_lag = std::max(most_lag, steps.lag);
    for (const auto& unit : resblock.units) {
      UnitStep unit_step{};
      unit_step.has_second = unit.size() == 2;
      unit_step.first = conv_step(unit[0], layer, weights);
      int reach = unit[0].padding;
      if (unit_step.has_second) {
        unit_step.second = conv_step(unit[1], layer, weights);
        unit_step.middle_carry = add_carry(2 * unit[1].padding, step.channels, unit[1].padding);
        reach = std::max(reach, unit[1].padding);
      }
      unit_step.input_carry = add_carry(2 * reach, step.channels, unit[0].padding);
      widest = std::max(widest, reach);
      steps.units.push_back(unit_step);
    }
    step.resblocks.push_back(std::move(steps));
  }
  // Each residual block adds to rows that the one before it has written, so the one that is furthest ahead goes first.
  std::stable_sort(step.resblocks.begin(), step.resblocks.end(),
                   [](const ResblockStep& a, const ResblockStep& b) { return a.lag < b.lag; });
  step.carry = add_carry(2 * widest, step.channels, widest);
  const Index behind = 2 * step.consumer_taps + 1;
  step.sum_carry = add_carry(most_lag - least_lag + behind, step.channels, behind);
  step.history = most_lag + 2 * widest + behind;
  step.capacity = step.history + step.block * up.rate + up.kernel_size;
  stage_floats_ = std::max(stage_floats_, static_cast<std::size_t>(step.capacity * step.channels));
  return step;
}

std::size_t Program::add_carry(Index rows, Index channels, Index zeros) {
  carries_.push_back({std::max(rows, zeros), channels, zeros});
  return carries_.size() - 1;
}

Workspace::Workspace(const Program& program, int threads) {
  std::vector<std::size_t> sizes;
  const auto add = [&](Index rows, Index channels) { sizes.push_back(static_cast<std::size_t>(rows * channels)); };
  add(program.mel_rows(), program.mel_channels());
  add(program.pre_rows(), program.pre_channels());
  sizes.insert(sizes.end(), 3, program.stage_floats());
  for (const StageStep& stage : program.stages()) add(stage.capacity, stage.channels);
  first_scratch_ = sizes.size();
  sizes.insert(sizes.end(), static_cast<std::size_t>(threads), program.scratch_floats());
  std::size_t end = 0;
  for (const std::size_t size : sizes) {
    offsets_.push_back(end);
    // An odd number of cache lines between buffers: the same row of several buffers must not fall into one set of the caches.
    end += whole_lines(size) / 32 * 32 + 32 + 16;
  }
  arena_ = AlignedBuffer(end);
  start_ = arena_.data();
}

}  // namespace hifigan
