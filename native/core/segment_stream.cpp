#include "core/segment_stream.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace hifigan {

SegmentStream::SignalState::SignalState(const LoadedGenerator& generator, const Program& program, const float* conditioning)
    : state(generator.state(program, conditioning)),
      waiting(static_cast<std::size_t>(generator.network().bands()) *
              static_cast<std::size_t>(program.plan().segment_frames)) {}

// The right to use the stream, for one thread at a time.
class SegmentStream::Use {
 public:
  explicit Use(SegmentStream& stream, bool anew = false) : end_{stream}, lock_(stream.use_, std::try_to_lock) {
    if (stream.closed_) throw StreamClosed();
    if (!lock_) throw StreamBusy();
    if (anew) return;
    if (stream.state_ == State::kFinished) throw StreamFinished();
    if (stream.state_ == State::kBroken) throw StreamBroken();
  }

 private:
  // Comes after the lock is given back.
  struct End {
    SegmentStream& stream;
    ~End() { stream.free_if_closed(); }
  };
  End end_;
  std::unique_lock<std::mutex> lock_;
};

SegmentStream::SegmentStream(std::shared_ptr<LoadedGenerator> generator, int segment_frames, const float* conditioning)
    : bands_(generator->network().bands()),
      segment_frames_(segment_frames),
      generator_(std::move(generator)),
      program_(generator_->program(segment_frames)),
      signal_(std::make_unique<SignalState>(*generator_, *program_, conditioning)),
      state_bytes_(signal_->state.bytes() + signal_->waiting.size() * sizeof(float)) {}

void SegmentStream::push(MelView mel, const Allocate& allocate, const StopRequest& stop) {
  const Use use(*this);
  float* audio = allocate(samples_after_push(mel.frames));
  state_ = State::kBroken;
  SignalState& signal = *signal_;
  Index taken = 0;
  while (taken < mel.frames) {
    // Whole segments are read where they are.
    if (signal.waiting_frames == 0 && mel.frames - taken >= segment_frames_) {
      audio += compute({mel.data + taken, mel.band_stride, segment_frames_}, false, audio, stop);
      taken += segment_frames_;
      continue;
    }
    const Index count = std::min(segment_frames_ - signal.waiting_frames, mel.frames - taken);
    for (Index band = 0; band < bands_; ++band) {
      std::copy_n(mel.data + band * mel.band_stride + taken, count,
                  signal.waiting.data() + band * segment_frames_ + signal.waiting_frames);
    }
    signal.waiting_frames += count;
    taken += count;
    if (signal.waiting_frames < segment_frames_) continue;
    signal.waiting_frames = 0;
    audio += compute({signal.waiting.data(), segment_frames_, segment_frames_}, false, audio, stop);
  }
  frames_ += mel.frames;
  pending_samples_ = samples_at_finish();
  state_ = State::kOpen;
}

void SegmentStream::finish(const Allocate& allocate, const StopRequest& stop) {
  const Use use(*this);
  if (frames_ > 0) generator_->network().check_frames(frames_);
  float* audio = allocate(samples_at_finish());
  state_ = State::kBroken;
  const Index rest = std::exchange(signal_->waiting_frames, 0);
  if (frames_ > 0) compute({signal_->waiting.data(), segment_frames_, rest}, true, audio, stop);
  state_ = State::kFinished;
}

void SegmentStream::reset() {
  const Use use(*this, true);
  signal_->state.reset();
  signal_->waiting_frames = signal_->computed_frames = 0;
  frames_ = pending_samples_ = 0;
  state_ = State::kOpen;
}

void SegmentStream::close() {
  closed_ = true;
  free_if_closed();
}

// Whoever is the last to hold the lock after `closed_` was set gets here.
void SegmentStream::free_if_closed() {
  if (!closed_) return;
  const std::unique_lock lock(use_, std::try_to_lock);
  if (!lock) return;
  signal_.reset();
  program_.reset();
  generator_.reset();
}

std::size_t SegmentStream::state_bytes() const {
  if (closed_) throw StreamClosed();
  return state_bytes_;
}

Index SegmentStream::pending_samples() const { return state_ == State::kOpen && !closed_ ? pending_samples_.load() : 0; }

Index SegmentStream::samples_after_push(Index frames) const {
  const SignalState& signal = *signal_;
  const Index computed = signal.computed_frames + (signal.waiting_frames + frames) / segment_frames_ * segment_frames_;
  return computed == 0 ? 0 : generator_->network().determined(computed) - signal.state.samples;
}

Index SegmentStream::samples_at_finish() const {
  const Index frames = signal_->computed_frames + signal_->waiting_frames;
  const Network& network = generator_->network();
  return frames < network.least_frames() ? 0 : network.output_length(frames) - signal_->state.samples;
}

Index SegmentStream::compute(MelView mel, bool final, float* audio, const StopRequest& stop) {
  const Index samples = generator_->run_segment(*program_, signal_->state, mel, final, audio, stop);
  if (!std::all_of(audio, audio + samples, [](float sample) { return std::isfinite(sample); })) throw NotFinite();
  signal_->computed_frames += mel.frames;
  return samples;
}

}  // namespace hifigan
