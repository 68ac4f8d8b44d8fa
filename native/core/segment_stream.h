// One signal, a few frames at a time.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <vector>

#include "core/loaded_generator.h"

namespace hifigan {

// Thrown by a stream that is not open; the binding raises the error of the same name in hifigan_rt.errors.
struct StreamBusy : std::logic_error {
  StreamBusy() : std::logic_error("the stream is in use by another thread") {}
};
struct StreamClosed : std::logic_error {
  StreamClosed() : std::logic_error("the stream is closed") {}
};
struct StreamFinished : std::logic_error {
  StreamFinished() : std::logic_error("the stream is finished") {}
};
struct StreamBroken : std::logic_error {
  StreamBroken() : std::logic_error("the stream was interrupted") {}
};

// Thrown where samples are NaN or infinite.
struct NotFinite : std::overflow_error {
  NotFinite() : std::overflow_error("the samples are not finite") {}
};

// Memory for so many samples; called once, before anything is computed.
using Allocate = std::function<float*(Index samples)>;

// One signal, computed in segments. It is open, finished, broken (a computation was interrupted, so that nobody knows which
// frames are taken in) or closed, and in use by at most one thread; `push`, `finish` and `reset` throw the errors above.
// Streams of one generator may run at the same time.
class SegmentStream {
 public:
  // `conditioning` as for an item of a batch; it need not outlive the call. Throws std::invalid_argument and std::bad_alloc.
  SegmentStream(std::shared_ptr<LoadedGenerator> generator, int segment_frames, const float* conditioning = nullptr);

  // Takes frames in; computes whole segments and writes all samples that they determine. Throws Stopped, NotFinite and
  // std::bad_alloc; if `allocate` throws, nothing was taken in.
  void push(MelView mel, const Allocate& allocate, const StopRequest& stop);
  // Writes the samples that are left; only `reset` and `close` may follow. Throws TooShort, after which the stream goes on.
  void finish(const Allocate& allocate, const StopRequest& stop);
  // Forgets the signal, be it finished or broken, and waits for another one.
  void reset();
  // Frees everything, at the end of the call that another thread may be in. Throws nothing; may be called again.
  void close();

  int bands() const { return bands_; }
  int segment_frames() const { return segment_frames_; }
  // Memory of the rows kept between segments and of the frames that wait: all that a stream has for itself.
  // Throws StreamClosed.
  std::size_t state_bytes() const;
  // Frames taken in.
  Index frames() const { return frames_; }
  // What `finish` would give now; 0 if the stream is not open, or too short to be finished.
  Index pending_samples() const;

 private:
  enum class State { kOpen, kFinished, kBroken };
  struct SignalState {
    SignalState(const LoadedGenerator& generator, const Program& program, const float* conditioning);
    StreamState state;
    std::vector<float> waiting;  // [band][segment_frames]: frames of the segment that is not full yet
    Index waiting_frames = 0;
    Index computed_frames = 0;
  };
  class Use;

  Index samples_after_push(Index frames) const;
  Index samples_at_finish() const;
  Index compute(MelView mel, bool final, float* audio, const StopRequest& stop);
  void free_if_closed();

  const int bands_, segment_frames_;
  std::shared_ptr<LoadedGenerator> generator_;
  std::shared_ptr<const Program> program_;
  std::unique_ptr<SignalState> signal_;
  const std::size_t state_bytes_;
  std::mutex use_;  // what follows is read without it
  std::atomic<State> state_{State::kOpen};
  std::atomic<bool> closed_{false};
  std::atomic<Index> frames_{0}, pending_samples_{0};
};

}  // namespace hifigan
