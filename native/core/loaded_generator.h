// A generator with its weights packed for one instruction set: runs batches and segments of streams, on a pool of its own.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "core/executor.h"
#include "core/packed_weights.h"
#include "core/program.h"
#include "core/tuning.h"

namespace hifigan {

// One item of a batch.
struct Item {
  MelView mel;
  float* audio;  // Network::output_length(mel.frames) samples
  const float* conditioning = nullptr;  // Network::conditioning_channels values, if there are any
};

class LoadedGenerator {
 public:
  // Packs the weights for the plan. `sources` are kept: another segment length may need other layouts of them.
  // Throws std::invalid_argument and std::bad_alloc.
  LoadedGenerator(Network network, Parameters sources, const Kernels& kernels, int segment_frames, int threads,
                  ForcedAlgorithms forced);
  ~LoadedGenerator();
  LoadedGenerator(const LoadedGenerator&) = delete;
  LoadedGenerator& operator=(const LoadedGenerator&) = delete;

  // Every item's audio; items side by side where there are at least as many as threads, else all threads on each in turn.
  // Throws Stopped and std::bad_alloc.
  void run(const std::vector<Item>& items, const StopRequest& stop);
  // The same for one item, every layer timed; seconds per layer of the plan.
  std::vector<double> measure(const Item& item);
  // At most a segment of a stream, see Executor::segment. Throws Stopped and std::bad_alloc.
  Index run_segment(const Program& program, StreamState& state, MelView mel, bool final, float* audio, const StopRequest& stop);

  // The state of another signal. `conditioning` as for an item; it need not outlive the call. Throws std::bad_alloc.
  StreamState state(const Program& program, const float* conditioning) const {
    return StreamState(program, packed_.biases(conditioning));
  }
  // The program for a segment length, made when it is asked for first. Throws std::invalid_argument and std::bad_alloc.
  std::shared_ptr<const Program> program(int segment_frames);

  // hifigan::calibrate, with the packed weights lent so that memory hardly grows. Throws std::bad_alloc.
  Calibration calibrate(double budget);
  // How what begins from now on goes through the caches; changes no bit. Throws std::invalid_argument.
  void tune(const std::string& name) { tuning_ = &tuning_named(name); }
  const Tuning& tuning() const { return *tuning_; }

  const Network& network() const { return network_; }
  const Kernels& kernels() const { return kernels_; }
  const NetworkPlan& plan() const { return offline_->plan(); }
  NetworkPlan plan_for(int segment_frames) const { return make_plan(network_, kernels_, segment_frames, forced_); }
  int threads() const { return threads_; }
  std::size_t weight_bytes();

 private:
  // What must not be shared with a child process: threads do not survive a fork, and locks may be held for ever.
  struct PerProcess {
    explicit PerProcess(int threads) : pool(threads) {}
    ThreadPool pool;
    std::mutex lock;  // of what follows and of `packed_` and `programs_`
    // What workspaces lay in, any program's: as many as were in use at a time, however many programs there are.
    std::vector<AlignedBuffer> idle;

    // One that is idle and large enough, or a new one. Throws std::bad_alloc.
    AlignedBuffer take(std::size_t floats);
    void give(AlignedBuffer memory);
  };
  class WorkspaceLease;

  PerProcess& per_process();
  void leave_to_parent();
  void run_one(const Program& program, const Item& item, ThreadGroup group, PerProcess& mine, const StopRequest& stop,
               double* layer_seconds);
  void run_side_by_side(const std::vector<Item>& items, PerProcess& mine, const StopRequest& stop);

  const Network network_;
  const Kernels& kernels_;
  const int threads_;
  const ForcedAlgorithms forced_;
  std::atomic<const Tuning*> tuning_{&tunings().front()};
  PackedWeights packed_;
  std::map<int, std::shared_ptr<const Program>> programs_;
  std::shared_ptr<const Program> offline_;
  std::unique_ptr<PerProcess> per_process_;
  std::atomic<long> process_;  // that `per_process_` belongs to
  std::mutex renewal_;
};

}  // namespace hifigan
