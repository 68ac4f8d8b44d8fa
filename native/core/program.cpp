#include "core/program.h"

#include <algorithm>

#include "core/tuning.h"

namespace hifigan {

namespace {

// Rows on either side of one that a convolution reads.
int reach(const NetworkLayer& layer) { return std::max(layer.padding_left, layer.padding_right); }

constexpr float kLeastSlopeTakenBack = 1e-3f;

// Rows behind the end that are written for a layer to read.
int padded_behind(const NetworkLayer& layer) {
  return layer.kind == LayerKind::kConv && layer.padding_mode != PaddingMode::kZeros ? layer.padding_right : 0;
}

}  // namespace

Program::Program(const Network& network, const Kernels& isa, NetworkPlan plan, const PackedWeights& weights)
    : network_(network), isa_(isa), plan_(std::move(plan)), mean_(weights.mean()), scale_(weights.scale()) {
  for (std::size_t i = 0; i < network.layers.size(); ++i) layers_.push_back(layer_step(i, weights));
  // A frame passes through it on its way into a row.
  scratch_floats_ = std::max(scratch_floats_, static_cast<std::size_t>(network.bands()));
  const NetworkLayer& first = network.first();
  const LayerStep& upsample = layers_[network.stages.front().upsample];
  mel_kind_ = kind_of(this->first(), first.in_channels, {});
  if (linear()) {
    feature_kind_ = kind_of(*linear(), network.bands(), {});
    mel_kind_.floats = std::max<Index>(mel_kind_.floats, row_floats(mel_kind_.format, linear()->kernels->padded_channels(first.in_channels)));
  }
  first_kind_ = kind_of(upsample, first.out_channels, upsample.layer->activation);
  first_kind_.floats = std::max<Index>(first_kind_.floats, row_floats(first_kind_.format, this->first().kernels->padded_channels(first.out_channels)));
  // An executor takes up to one segment at a time; what a layer keeps behind comes on top. At the end, a flow gives the rows that
  // it lies behind as well.
  const Index most_rows = plan_.segment_frames + network.flow_lag();
  mel_rows_ = most_rows + 2 * first.span() + 1 + padded_behind(first);
  add_carry(2 * first.span() + 1, mel_kind_.floats, first.padding_left);
  const int taps = network.layers[network.stages.front().upsample].taps();
  first_rows_ = most_rows + first.span() + 2 * taps + 1;
  add_carry(2 * taps + 1, first_kind_.floats, taps);
  if (!network.couplings.empty()) flow_ = flow_step();
  for (std::size_t i = 0; i < network.stages.size(); ++i) {
    stages_.push_back(stage_step(network.stages[i], plan_.block_rows.at(i)));
  }
}

LayerStep Program::layer_step(std::size_t number, const PackedWeights& weights) {
  const NetworkLayer& layer = network_.layers[number];
  const Algorithm algorithm = plan_.layers.at(number).algorithm;
  const Kernels& kernels = kernels_of(isa_, network_, number);
  const int in = layer.in_channels, out = layer.out_channels, k = layer.kernel_size;
  LayerStep step{&layer, number, &kernels, algorithm, plan_.layers.at(number).winograd, {}, weights.weights(number, algorithm)};
  std::size_t scratch = 0;
  switch (operation_of(network_, number)) {
    case Operation::kConv:
      if (algorithm.tiled) step.shape = kernels.transform_shape(algorithm.transform, k);
      scratch = algorithm.tiled ? kernels.tiled_scratch_size(algorithm.transform, in, out, most_block_bytes())
                                : kernels.direct_scratch_size(in, out, k, layer.dilation);
      break;
    case Operation::kConvTranspose: scratch = kernels.transpose_scratch_size(in, out, k, layer.stride); break;
    case Operation::kConvPost: scratch = kernels.post_scratch_size(in, k);
  }
  scratch_floats_ = std::max(scratch_floats_, scratch);
  return step;
}

FlowStep Program::flow_step() {
  const NetworkLayer& pre = network_.layers.front();
  FlowStep step{};
  step.half = pre.in_channels;
  step.half_channels = isa_.padded_channels(pre.in_channels);
  const Index lag = network_.flow_lag();
  for (std::size_t& carry : step.half_carries) carry = add_carry(lag, step.half_channels, 0);
  int widest = 0;
  for (const Coupling& coupling : network_.couplings) {
    CouplingStep& steps = step.couplings.emplace_back(CouplingStep{&layers_[coupling.pre], coupling.shifted, {}});
    const auto padded = [&](const NetworkLayer& layer) -> Index { return isa_.padded_channels(layer.out_channels); };
    step.inner_channels = std::max(step.inner_channels, padded(*steps.pre->layer));
    for (const GatedUnit& unit : coupling.units) {
      const NetworkLayer& gated = network_.layers[unit.gate];
      step.gate_channels = std::max(step.gate_channels, padded(gated));
      const std::size_t carry = add_carry(gated.span(), isa_.padded_channels(gated.in_channels), gated.padding_left);
      steps.units.push_back({&layers_[unit.gate], unit.residual ? &layers_[*unit.residual] : nullptr, &layers_[unit.shift], carry});
      widest = std::max(widest, gated.span());
    }
  }
  step.gate_rows = plan_.segment_frames + lag;
  step.half_rows = step.gate_rows;
  // From the rows that the last layer of a coupling reads again to those that the first one reads first.
  step.inner_rows = step.gate_rows + lag + widest;
  return step;
}

StageStep Program::stage_step(const Stage& stage, Index block) {
  StageStep step{};
  step.upsample = &layers_[stage.upsample];
  const NetworkLayer& up = *step.upsample->layer;
  const NetworkLayer& behind = network_.layers[stage.end];
  const LayerStep& reader = layers_[stage.upsample + 1];
  const auto channels = [&](const Kernels& kernels) -> Index { return kernels.padded_channels(up.out_channels); };
  step.rows = kind_of(reader, up.out_channels, held_by(stage));
  step.rows.floats = std::max(step.rows.floats, row_floats(step.rows.format, channels(*step.upsample->kernels)));
  step.sum = kind_of(layers_[stage.end], up.out_channels, behind.activation);
  step.sum.floats = std::max({step.sum.floats, channels(*reader.kernels), channels(*step.upsample->kernels)});
  step.block = block;
  int widest = 0, least_lag = network_.lag(stage.resblocks.front()), most_lag = 0, behind_end = padded_behind(behind);
  for (const Resblock& resblock : stage.resblocks) {
    ResblockStep steps{{}, network_.lag(resblock)};
    least_lag = std::min(least_lag, steps.lag);
    most_lag = std::max(most_lag, steps.lag);
    for (const ResidualUnit& unit : resblock.units) {
      UnitStep unit_step{&layers_[unit.first], unit.second ? &layers_[*unit.second] : nullptr, 0, 0};
      int rows = reach(*unit_step.first->layer);
      behind_end = std::max(behind_end, padded_behind(*unit_step.first->layer));
      if (unit_step.second) {
        const NetworkLayer& second = *unit_step.second->layer;
        unit_step.middle_carry = add_carry(second.span(), step.rows.floats, second.padding_left);
        rows = std::max(rows, reach(second));
        behind_end = std::max(behind_end, padded_behind(second));
      }
      unit_step.input_carry = add_carry(2 * rows, step.rows.floats, unit_step.first->layer->padding_left);
      widest = std::max(widest, rows);
      steps.units.push_back(unit_step);
    }
    step.resblocks.push_back(std::move(steps));
  }
  // Each residual block adds to rows that the one before it has written, so the one that is furthest ahead goes first.
  std::stable_sort(step.resblocks.begin(), step.resblocks.end(),
                   [](const ResblockStep& a, const ResblockStep& b) { return a.lag < b.lag; });
  step.carry = add_carry(2 * widest, step.rows.floats, widest);
  // Rows that the layer behind reads for one of its own, and one more.
  const Index read_behind = 2 * (behind.kind == LayerKind::kConv ? behind.span() : behind.taps()) + 1;
  step.sum_carry = add_carry(most_lag - least_lag + read_behind, step.sum.floats, read_behind);
  step.history = most_lag + 2 * widest + read_behind;
  step.capacity = step.history + step.block * up.stride + up.kernel_size + behind_end;
  stage_floats_ = std::max(stage_floats_, static_cast<std::size_t>(step.capacity * step.rows.floats));
  return step;
}

// Of what a layer reads.
RowKind Program::kind_of(const LayerStep& reader, int channels, Activation held) const {
  // The last layer reads float32, whatever the others do.
  const bool last = reader.number + 1 == network_.layers.size();
  const Format format = last ? Format::kFloat32 : reader.kernels->operands;
  return {row_floats(format, reader.kernels->padded_channels(channels)), format, held};
}

// The activation that the rows of a stage hold behind it: a tile unit reads them as they lie. Float32 kernels pass it while they
// read, since the residual wants the value before it, which comes out of slices exactly enough.
Activation Program::held_by(const Stage& stage) const {
  const NetworkLayer& first = network_.layers[stage.upsample + 1];
  if (layers_[stage.upsample + 1].kernels->operands == Format::kFloat32) return {};
  for (const Resblock& resblock : stage.resblocks) {
    for (const ResidualUnit& unit : resblock.units) {
      if (!(network_.layers[unit.first].activation == first.activation)) return {};
    }
  }
  // What a smaller slope has left of a value is not worth taking back; of 0, nothing.
  return first.activation.kind == ActivationKind::kNone || first.activation.slope >= kLeastSlopeTakenBack ? first.activation
                                                                                                          : Activation{};
}

std::size_t Program::add_carry(Index rows, Index floats, Index zeros) {
  carries_.push_back({std::max(rows, zeros), floats, zeros});
  return carries_.size() - 1;
}

Workspace::Workspace(const Program& program, int threads, const std::function<AlignedBuffer(std::size_t floats)>& allocate) {
  std::vector<std::size_t> sizes;
  const auto add = [&](Index rows, Index channels) { sizes.push_back(static_cast<std::size_t>(rows * channels)); };
  add(program.mel_rows(), program.mel_kind().floats);
  add(program.first_rows(), program.first_kind().floats);
  sizes.insert(sizes.end(), 3, program.stage_floats());
  add(program.plan().segment_frames, program.feature_kind().floats);
  const FlowStep none{}, &flow = program.flow() ? *program.flow() : none;
  for (int i = 0; i < 2; ++i) add(flow.half_rows, flow.half_channels);
  add(flow.inner_rows, flow.inner_channels);
  add(flow.gate_rows, flow.gate_channels);
  for (const StageStep& stage : program.stages()) add(stage.capacity, stage.sum.floats);
  first_scratch_ = sizes.size();
  sizes.insert(sizes.end(), static_cast<std::size_t>(threads), program.scratch_floats());
  std::size_t end = 0;
  for (const std::size_t size : sizes) {
    offsets_.push_back(end);
    // An odd number of cache lines between buffers: the same row of several buffers must not fall into one set of the caches.
    end += whole_lines(size) / 32 * 32 + 32 + 16;
  }
  arena_ = allocate(end);
  start_ = arena_.data();
}

}  // namespace hifigan
