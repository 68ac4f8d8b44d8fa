// Takes the frames of one segment through a voice's flow.
#pragma once

#include "core/layer_runner.h"
#include "core/mel_view.h"

namespace hifigan {

// The two halves of the input's channels lie in buffers of their own. A coupling adds to one of them, in place, what it makes of
// the other; the sums of rows that it has not finished wait there, and are kept between segments with all rows that the layers
// behind have not got.
class FlowExecutor {
 public:
  FlowExecutor(const FlowStep& flow, StreamState& state, const Workspace& workspace, LayerRunner& runner);

  // Computes all rows that these frames (at most a segment) determine; with `final`, all. Returns the end of the rows that are
  // complete.
  Index segment(MelView latent, bool final);
  // Writes the rows from `begin` to out.end - 1, both halves side by side; then keeps what later segments need. Comes last.
  void join(const Rows& out, Index begin, bool final);

 private:
  void read(MelView latent, std::size_t half, Index begin);
  Index coupling(const CouplingStep& step, const Rows& source, const Rows& target, bool final);

  const FlowStep& flow_;
  StreamState& state_;
  const Workspace& workspace_;
  LayerRunner& runner_;
  Rows halves_[2]{};
};

}  // namespace hifigan
