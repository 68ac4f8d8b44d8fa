#include "core/flow_executor.h"

#include <algorithm>

namespace hifigan {

FlowExecutor::FlowExecutor(const FlowStep& flow, StreamState& state, const Workspace& workspace, LayerRunner& runner)
    : flow_(flow), state_(state), workspace_(workspace), runner_(runner) {}

Index FlowExecutor::segment(MelView latent, bool final) {
  for (std::size_t i = 0; i < 2; ++i) {
    const Carry& carry = state_.carry(flow_.half_carries[i]);
    halves_[i] = {workspace_.half(i), carry.first, flow_.half_channels, carry.end + latent.frames};
    runner_.restore(flow_.half_carries[i], halves_[i]);
    read(latent, i, carry.end);
  }
  Index end = halves_[0].end;
  for (const CouplingStep& step : flow_.couplings) {
    Rows source = halves_[1 - step.shifted];
    source.end = end;
    end = coupling(step, source, halves_[step.shifted], final);
  }
  return end;
}

void FlowExecutor::read(MelView latent, std::size_t half, Index begin) {
  const float* const data = latent.data + static_cast<Index>(half) * flow_.half * latent.band_stride;
  for (Index frame = 0; frame < latent.frames; ++frame) {
    float* const row = halves_[half].row(begin + frame);
    for (Index channel = 0; channel < flow_.half; ++channel) row[channel] = data[channel * latent.band_stride + frame];
    std::fill(row + flow_.half, row + flow_.half_channels, 0.0f);
  }
}

// Rows of `source` that are complete, through a coupling; returns the end of those of `target` that are complete then.
Index FlowExecutor::coupling(const CouplingStep& step, const Rows& source, const Rows& target, bool final) {
  Rows x{workspace_.inner(), source.end, flow_.inner_channels, source.end};
  for (const GatedStep& unit : step.units) x.origin = std::min(x.origin, state_.carry(unit.carry).first);
  const std::size_t first = step.units.front().carry;
  const Index old = state_.carry(first).end;
  runner_.restore(first, x);
  runner_.conv(*step.pre, source, {x, old, source.end}, final);
  for (std::size_t i = 0; i < step.units.size(); ++i) {
    const GatedStep& unit = step.units[i];
    const NetworkLayer& gate = *unit.gate->layer;
    const Index done = state_.carry(unit.carry).first + gate.padding_left;
    const Index end = final ? x.end : std::max(done, gate.determined(x.end));
    const Rows gated{workspace_.gates(), done, flow_.gate_channels, end};
    runner_.conv(*unit.gate, x, {gated, done, end}, final);
    runner_.gate(*unit.gate, gated, done);
    // Before these rows become those of the next unit.
    if (!final) runner_.save(unit.carry, x, end - gate.padding_left, x.end);
    x.end = end;
    if (unit.residual) {
      runner_.conv(*unit.residual, gated, {x, done, end, &x}, final);
      runner_.restore(step.units[i + 1].carry, x);
    }
    runner_.conv(*unit.shift, gated, {target, done, end, &target}, final);
  }
  return x.end;
}

void FlowExecutor::join(const Rows& out, Index begin, bool final) {
  for (Index row = begin; row < out.end; ++row) {
    float* to = out.row(row);
    for (const Rows& half : halves_) to = std::copy_n(half.row(row), flow_.half, to);
    std::fill(to, out.row(row) + out.floats, 0.0f);
  }
  if (final) return;
  for (std::size_t i = 0; i < 2; ++i) runner_.save(flow_.half_carries[i], halves_[i], out.end, halves_[i].end);
}

}  // namespace hifigan
