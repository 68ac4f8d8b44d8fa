#include "core/loaded_generator.h"

#include <algorithm>
#include <atomic>
#include <new>
#include <optional>

#if defined(_WIN32)
#include <process.h>
#else
#include <unistd.h>
#endif

#include "kernels/float_mode.h"

namespace hifigan {

namespace {

// A fork has another.
long number_of_this_process() {
#if defined(_WIN32)
  return _getpid();
#else
  return getpid();
#endif
}

MelView frames_of(const MelView& mel, Index begin, Index end) { return {mel.data + begin, mel.band_stride, end - begin}; }

}  // namespace

AlignedBuffer LoadedGenerator::PerProcess::take(std::size_t floats) {
  {
    const std::lock_guard guard(lock);
    const auto smaller = [](const AlignedBuffer& a, const AlignedBuffer& b) { return a.bytes() < b.bytes(); };
    std::sort(idle.begin(), idle.end(), smaller);
    const auto fits = [&](const AlignedBuffer& memory) { return memory.bytes() >= floats * sizeof(float); };
    const auto least = std::find_if(idle.begin(), idle.end(), fits);
    if (least != idle.end()) {
      AlignedBuffer memory = std::move(*least);
      idle.erase(least);
      return memory;
    }
    // The new one takes its place.
    if (!idle.empty()) idle.pop_back();
  }
  return AlignedBuffer(floats);
}

void LoadedGenerator::PerProcess::give(AlignedBuffer memory) {
  const std::lock_guard guard(lock);
  try {
    idle.push_back(std::move(memory));
  } catch (const std::bad_alloc&) {
    // It is freed, which is what is wanted then.
  }
}

// A workspace whose memory is given back at the end.
class LoadedGenerator::WorkspaceLease {
 public:
  WorkspaceLease(PerProcess& from, const Program& program, int threads)
      : from_(from), workspace_(program, threads, [&from](std::size_t floats) { return from.take(floats); }) {}
  ~WorkspaceLease() { from_.give(std::move(workspace_.memory())); }
  WorkspaceLease(const WorkspaceLease&) = delete;
  WorkspaceLease& operator=(const WorkspaceLease&) = delete;
  Workspace& operator*() { return workspace_; }

 private:
  PerProcess& from_;
  Workspace workspace_;
};

LoadedGenerator::LoadedGenerator(Network network, Parameters sources, const Kernels& kernels, int segment_frames, int threads,
                                 ForcedAlgorithms forced)
    : network_(std::move(network)),
      kernels_(kernels),
      threads_(threads),
      forced_(std::move(forced)),
      packed_(network_, kernels_, std::move(sources)),
      per_process_(std::make_unique<PerProcess>(threads_)),
      process_(number_of_this_process()) {
  if (!network_.couplings.empty() && kernels_.operands != Format::kFloat32) {
    throw std::invalid_argument("a flow is computed in float32 alone");
  }
  offline_ = program(segment_frames);
}

LoadedGenerator::~LoadedGenerator() {
  if (process_ != number_of_this_process()) leave_to_parent();
}

// The copy of another process's pool has no threads to end, and for those asleep in it one would wait for ever.
void LoadedGenerator::leave_to_parent() { static_cast<void>(per_process_.release()); }

LoadedGenerator::PerProcess& LoadedGenerator::per_process() {
  const long process = number_of_this_process();
  if (process_ != process) {
    // In a child process, which comes here first with one thread; the lock is taken nowhere else.
    const std::lock_guard lock(renewal_);
    if (process_ != process) {
      leave_to_parent();
      per_process_ = std::make_unique<PerProcess>(threads_);
      process_ = process;
    }
  }
  return *per_process_;
}

std::shared_ptr<const Program> LoadedGenerator::program(int segment_frames) {
  PerProcess& mine = per_process();
  const PoolLock pool_lock(mine.pool);
  const std::lock_guard lock(mine.lock);
  auto& program = programs_[segment_frames];
  if (!program) {
    NetworkPlan plan = plan_for(segment_frames);
    packed_.prepare(plan, mine.pool);
    program = std::make_shared<const Program>(network_, kernels_, std::move(plan), packed_);
  }
  return program;
}

void LoadedGenerator::run_one(const Program& program, const Item& item, ThreadGroup group, PerProcess& mine,
                              const StopRequest& stop, double* layer_seconds) {
  StreamState state = this->state(program, item.conditioning);
  const Tuning& way = tuning();
  const Index segment = program.plan().segment_frames;
  float* audio = item.audio;
  Index frame = 0;
  // The pool is given back after each segment, so that a stream need not wait for the end of a long signal. So is the
  // workspace: callers that wait have none.
  const auto run = [&](Index end, bool final) {
    std::optional<PoolLock> lock;
    if (group.pool) lock.emplace(*group.pool, stop);
    WorkspaceLease workspace(mine, program, group.threads());
    Executor executor(program, state, *workspace, way, group, stop, layer_seconds);
    audio += executor.segment(frames_of(item.mel, frame, end), final, audio);
    frame = end;
  };
  while (frame + segment <= item.mel.frames) run(frame + segment, false);
  run(item.mel.frames, true);
}

void LoadedGenerator::run(const std::vector<Item>& items, const StopRequest& stop) {
  PerProcess& mine = per_process();
  const FlushDenormals mode;
  // As many as fill all threads go side by side: no waiting for each other. The rest get all threads each.
  const auto threads = static_cast<std::size_t>(threads_);
  const std::size_t together = threads > 1 ? items.size() / threads * threads : 0;
  if (together > 0) run_side_by_side({items.begin(), items.begin() + static_cast<Index>(together)}, mine, stop);
  if (together == items.size()) return;
  for (std::size_t i = together; i < items.size(); ++i) run_one(*offline_, items[i], {&mine.pool}, mine, stop, nullptr);
}

void LoadedGenerator::run_side_by_side(const std::vector<Item>& items, PerProcess& mine, const StopRequest& stop) {
  std::atomic<bool> stopped{false}, no_memory{false};
  const PoolLock lock(mine.pool, stop);
  // Only the caller may ask the outer world whether to stop, also once it has no item left; the others look at what it found.
  const auto ask_outside = [&] {
    if (!stopped && stop && stop()) stopped = true;
  };
  mine.pool.loop(static_cast<Index>(items.size()), [&](Index i, int thread) {
    if (stopped || no_memory) return;
    try {
      const StopRequest ask = [&] {
        if (thread == 0) ask_outside();
        return stopped.load() || no_memory.load();
      };
      run_one(*offline_, items[static_cast<std::size_t>(i)], {nullptr}, mine, ask, nullptr);
    } catch (const Stopped&) {
      stopped = true;
    } catch (const std::bad_alloc&) {
      no_memory = true;
    }
  }, ask_outside);
  if (no_memory) throw std::bad_alloc();
  if (stopped) throw Stopped();
}

std::vector<double> LoadedGenerator::measure(const Item& item) {
  PerProcess& mine = per_process();
  const FlushDenormals mode;
  std::vector<double> seconds(offline_->plan().layers.size());
  run_one(*offline_, item, {&mine.pool}, mine, {}, seconds.data());
  return seconds;
}

Index LoadedGenerator::run_segment(const Program& program, StreamState& state, MelView mel, bool final, float* audio,
                                   const StopRequest& stop) {
  PerProcess& mine = per_process();
  const PoolLock lock(mine.pool, stop);
  const FlushDenormals mode;
  WorkspaceLease workspace(mine, program, threads_);
  return Executor(program, state, *workspace, tuning(), {&mine.pool}, stop).segment(mel, final, audio);
}

Calibration LoadedGenerator::calibrate(double budget) {
  const auto lent = [this] {
    const std::lock_guard lock(per_process().lock);
    return packed_.buffers();
  };
  return hifigan::calibrate(kernels_, budget, lent());
}

std::size_t LoadedGenerator::weight_bytes() {
  const std::lock_guard lock(per_process().lock);
  return packed_.bytes();
}

}  // namespace hifigan
