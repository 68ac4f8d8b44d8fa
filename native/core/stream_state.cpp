#include "core/stream_state.h"

namespace hifigan {

StreamState::StreamState(const Program& program) {
  std::size_t floats = 0;
  for (const CarrySpec& spec : program.carries()) floats += whole_lines(static_cast<std::size_t>(spec.rows * spec.channels));
  // Zeros are the rows before the signal.
  memory_ = AlignedBuffer(floats, true);
  float* rows = memory_.data();
  for (const CarrySpec& spec : program.carries()) {
    carries_.push_back({rows, spec.channels, spec.rows, -spec.zeros, 0});
    rows += whole_lines(static_cast<std::size_t>(spec.rows * spec.channels));
  }
  for (const StageStep& stage : program.stages()) summed_.emplace_back(stage.resblocks.size(), 0);
  consumed_.assign(program.stages().size(), 0);
}

}  // namespace hifigan
