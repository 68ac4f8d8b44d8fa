// Runs single layers on rows in work buffers, on all threads of a group.
#pragma once

#include "core/stop.h"
#include "core/stream_state.h"
#include "core/thread_pool.h"

namespace hifigan {

// The threads that may be used: a pool that the caller holds, or the calling thread alone (`pool` null).
struct ThreadGroup {
  ThreadPool* pool;
  int threads() const { return pool ? pool->threads() : 1; }
};

// Rows of an activation in a work buffer: row r lies at base + (r - origin) * floats; rows up to end are there.
struct Rows {
  float* base;
  Index origin;
  Index floats;
  Index end;
  Format format = Format::kFloat32;
  Activation held = {};  // what the values in them have passed already
  float* row(Index r) const { return base + (r - origin) * floats; }
};

inline Index ceil_div(Index a, Index b) { return (a + b - 1) / b; }

// What a convolution writes: rows begin .. end - 1 of `rows`, behind the activation that these hold.
struct Out {
  Rows rows;
  Index begin, end;
  const Rows* residual = nullptr;
  bool add = false;  // to what is in `rows`, in float32
  float scale = 1.0f;
};

class LayerRunner {
 public:
  // `stop` is asked before each layer. `layer_seconds`, if not null, is added to: one entry per layer of the plan.
  LayerRunner(StreamState& state, const Workspace& workspace, const Tuning& tuning, ThreadGroup group, StopRequest stop,
              double* layer_seconds);

  // Rows that hold the activation of the layer are read as they are; others hold none.
  void conv(const LayerStep& step, const Rows& in, const Out& out, bool final);
  // Rows from begin on, of which a gated convolution has written both halves, to tanh of the first times sigmoid of the other.
  void gate(const LayerStep& step, const Rows& rows, Index begin);
  // Rows begin .. out.end - 1 of a stage's upsampling.
  void transpose(const LayerStep& step, const Rows& in, const Rows& out, Index begin);
  // Samples begin .. end - 1 of the last layer.
  void post(const LayerStep& step, const Rows& in, Index begin, Index end, bool final, Output output, float* audio);

  // Rows that were kept, into a work buffer; and rows of a work buffer from first to end - 1, to keep.
  void restore(std::size_t carry, const Rows& rows);
  void save(std::size_t carry, const Rows& rows, Index first, Index end);

 private:
  Index pad(const NetworkLayer& layer, const Rows& in, Index begin, bool final);
  double* seconds_of(const LayerStep& step) const { return layer_seconds_ ? layer_seconds_ + step.number : nullptr; }

  StreamState& state_;
  const Workspace& workspace_;
  const Tuning& tuning_;
  ThreadGroup group_;
  StopRequest stop_;
  double* layer_seconds_;
};

}  // namespace hifigan
