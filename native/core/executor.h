// Takes the frames of one segment through all layers.
#pragma once

#include "core/stop.h"
#include "core/stream_state.h"
#include "core/thread_pool.h"

namespace hifigan {

// The threads that an executor may use: a pool that the caller holds, or the calling thread alone (`pool` null).
struct ThreadGroup {
  ThreadPool* pool;
  int threads() const { return pool ? pool->threads() : 1; }
};

// Mel frames as callers have them: mel[band * band_stride + frame].
struct MelView {
  const float* data;
  Index band_stride;
  Index frames;
};

class Executor {
 public:
  // `layer_seconds`, if not null, is added to: one entry per layer of the plan.
  Executor(const Program& program, StreamState& state, Workspace& workspace, const Tuning& tuning, ThreadGroup group,
           StopRequest stop = {}, double* layer_seconds = nullptr);

  // Computes everything that these frames (at most a segment) determine; with `final`, everything. Writes the samples that
  // are new to `audio` and returns how many they are. Throws Stopped.
  Index segment(MelView mel, bool final, float* audio);

 private:
  // Rows of an activation in a work buffer: row r lies at base + (r - origin) * channels; rows up to end are there.
  struct Rows {
    float* base;
    Index origin;
    Index channels;
    Index end;
    float* row(Index r) const { return base + (r - origin) * channels; }
  };
  struct Out {
    Rows rows;
    Index begin, end;
    const Rows* residual;
    bool add;  // to what is in `rows`
    float scale;
    Activation activation;
  };

  void read(MelView mel, const Rows& in, Index begin);
  Index pad(const NetworkLayer& layer, const Rows& in, Index begin, bool final);
  void conv(const LayerStep& step, const Rows& in, Activation activation, const Out& out, bool final);
  void transpose(const StageStep& step, const Rows& in, const Rows& out, Index begin);
  void last(const Rows& in, bool final, float* audio);
  void feed(std::size_t stage, const Rows& in, bool final, float* audio);
  void block(std::size_t stage, const Rows& in, Index in_end, bool final, float* audio);
  Index resblocks(std::size_t stage, const Rows& upsampled, const Rows& sum, bool final);
  Index unit(const UnitStep& step, bool keep, const Rows& in, Out& out, bool final);
  Index first_row_read_behind(std::size_t stage) const;
  void restore(std::size_t carry, const Rows& rows);
  void save(std::size_t carry, const Rows& rows, Index first, Index end);

  const Program& program_;
  StreamState& state_;
  Workspace& workspace_;
  const Tuning& tuning_;
  ThreadGroup group_;
  StopRequest stop_;
  double* layer_seconds_;
};

}  // namespace hifigan
