// A loaded generator: runs batches and opens streams, on a pool of its own.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "core/packed_weights.h"
#include "core/program.h"
#include "core/walk.h"

namespace hifigan {

// One item of a batch.
struct Item {
  MelView mel;
  float* audio;  // Graph::output_length(mel.frames) samples
};

class Generator;

// One signal, frame by frame. Not for several threads at once (the binding sees to it); streams of one generator may run
// at the same time.
class Stream {
 public:
  // Samples that a push of so many frames will give.
  Index samples_after_push(Index frames) const;
  // Takes frames in; computes whole segments and writes their samples, as many as `samples_after_push` says.
  void push(MelView mel, float* audio, const StopRequest& stop);

  Index samples_at_finish() const;
  void finish(float* audio, const StopRequest& stop);

  int segment_frames() const { return program_->plan().segment_frames; }
  // Of the rows kept between segments and of the frames that wait; all that a stream has for itself.
  std::size_t state_bytes() const { return state_.bytes() + pending_.capacity() * sizeof(float); }
  bool finished() const { return finished_; }
  bool broken() const { return broken_; }

 private:
  friend class Generator;
  Stream(Generator& generator, std::shared_ptr<const Program> program);
  Index run(MelView mel, bool final, float* audio, const StopRequest& stop);

  Generator& generator_;
  std::shared_ptr<const Program> program_;
  StreamState state_;
  std::vector<float> pending_;  // [band][segment_frames]: frames that wait for their segment to be full
  Index waiting_ = 0;
  Index frames_ = 0;  // computed
  bool finished_ = false;
  bool broken_ = false;
};

class Generator {
 public:
  // Packs the weights for the plan. `sources` must stay valid: another segment length may need other layouts of them.
  // Throws std::invalid_argument and std::bad_alloc.
  Generator(Graph graph, std::vector<LayerWeights> sources, const Kernels& kernels, int segment_frames, int threads,
            ForcedAlgorithms forced);

  // Every item's audio; items side by side where there are at least as many as threads, else all threads on each in turn.
  // Throws Interrupted and std::bad_alloc.
  void run(const std::vector<Item>& items, const StopRequest& stop);
  // Items one after the other, every layer timed; seconds per layer of the plan.
  std::vector<double> measure(const Item& item);
  std::unique_ptr<Stream> stream(int segment_frames);

  const Graph& graph() const { return graph_; }
  const Kernels& kernels() const { return kernels_; }
  const Plan& plan() const { return offline_->plan(); }
  Plan plan_for(int segment_frames) const { return make_plan(graph_, kernels_, segment_frames, forced_); }
  int threads() const { return threads_; }
  std::size_t weight_bytes();

 private:
  friend class Stream;
  // What must not be shared with a child process: threads do not survive a fork, and locks may be held for ever.
  struct Local {
    explicit Local(int threads) : pool(threads) {}
    ThreadPool pool;
    std::mutex lock;  // of what follows and of `packed_` and `programs_`
    std::map<std::pair<const Program*, int>, std::vector<std::unique_ptr<Workspace>>> idle;
  };
  class Loan;

  Local& local();
  std::shared_ptr<const Program> program(int segment_frames);
  void run_alone(const Program& program, const Item& item, Team team, Workspace& workspace, const StopRequest& stop,
                 double* layer_seconds);
  void run_abreast(const std::vector<Item>& items, Local& mine, const StopRequest& stop);

  const Graph graph_;
  const Kernels& kernels_;
  const int threads_;
  const ForcedAlgorithms forced_;
  PackedWeights packed_;
  std::map<int, std::shared_ptr<const Program>> programs_;
  std::shared_ptr<const Program> offline_;
  std::unique_ptr<Local> local_;
  std::atomic<long> process_;  // that `local_` belongs to
  std::mutex renewal_;
};

}  // namespace hifigan
