#include "core/stream_state.h"

#include <algorithm>
#include <utility>

namespace hifigan {

StreamState::StreamState(const Program& program, Biases biases) : biases_(std::move(biases)) {
  std::size_t floats = 0;
  for (const CarrySpec& spec : program.carries()) floats += whole_lines(static_cast<std::size_t>(spec.rows * spec.floats));
  memory_ = AlignedBuffer(floats);
  float* rows = memory_.data();
  for (const CarrySpec& spec : program.carries()) {
    carries_.push_back({rows, spec.floats, spec.rows, spec.zeros, 0, 0});
    rows += whole_lines(static_cast<std::size_t>(spec.rows * spec.floats));
  }
  for (const StageStep& stage : program.stages()) summed_.emplace_back(stage.resblocks.size());
  consumed_.resize(program.stages().size());
  reset();
}

void StreamState::reset() {
  std::fill_n(memory_.data(), memory_.bytes() / sizeof(float), 0.0f);
  for (Carry& carry : carries_) {
    carry.first = -carry.zeros;
    carry.end = 0;
  }
  for (auto& rows : summed_) std::fill(rows.begin(), rows.end(), 0);
  std::fill(consumed_.begin(), consumed_.end(), 0);
  samples = 0;
}

}  // namespace hifigan
