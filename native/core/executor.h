// Takes the frames of one segment through all layers.
#pragma once

#include "core/layer_runner.h"
#include "core/mel_view.h"
#include "core/stop.h"

namespace hifigan {

class Executor {
 public:
  // `layer_seconds`, if not null, is added to: one entry per layer of the plan.
  Executor(const Program& program, StreamState& state, Workspace& workspace, const Tuning& tuning, ThreadGroup group,
           StopRequest stop = {}, double* layer_seconds = nullptr);

  // Computes everything that these frames (at most a segment) determine; with `final`, everything. Writes the samples that
  // are new to `audio` and returns how many they are. Throws Stopped.
  Index segment(MelView mel, bool final, float* audio);

 private:
  void read(MelView mel, const LayerStep& reader, const Rows& in, Index begin);
  void last(const Rows& in, bool final, float* audio);
  void feed(std::size_t stage, const Rows& in, bool final, float* audio);
  void block(std::size_t stage, const Rows& in, Index in_end, bool final, float* audio);
  Index resblocks(std::size_t stage, const Rows& upsampled, const Rows& sum, bool final);
  Index unit(const UnitStep& step, bool keep, const Rows& in, Out& out, bool final);
  Index first_row_read_behind(std::size_t stage) const;

  const Program& program_;
  StreamState& state_;
  Workspace& workspace_;
  LayerRunner runner_;
};

}  // namespace hifigan
