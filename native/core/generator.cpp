#include "core/generator.h"

#include <algorithm>
#include <atomic>
#include <new>
#include <optional>

#include <unistd.h>

#include "core/float_mode.h"

namespace hifigan {

namespace {

Graph checked(Graph graph) {
  check(graph);
  return graph;
}

int checked_threads(int threads) {
  if (threads < 1 || threads > 1024) {
    throw std::invalid_argument("threads=" + std::to_string(threads) + " must be from 1 to 1024");
  }
  return threads;
}

MelView frames_of(const MelView& mel, Index begin, Index end) { return {mel.data + begin, mel.band_stride, end - begin}; }

}  // namespace

// A workspace out of the idle ones, or a new one, given back at the end.
class Generator::Loan {
 public:
  Loan(Local& local, const Program& program, int threads) : local_(local), key_(&program, threads) {
    const std::lock_guard lock(local_.lock);
    auto& idle = local_.idle[key_];
    if (idle.empty()) {
      workspace_ = std::make_unique<Workspace>(program, threads);
    } else {
      workspace_ = std::move(idle.back());
      idle.pop_back();
    }
  }
  ~Loan() {
    const std::lock_guard lock(local_.lock);
    local_.idle[key_].push_back(std::move(workspace_));
  }
  Loan(const Loan&) = delete;
  Loan& operator=(const Loan&) = delete;
  Workspace& operator*() { return *workspace_; }

 private:
  Local& local_;
  std::pair<const Program*, int> key_;
  std::unique_ptr<Workspace> workspace_;
};

Generator::Generator(Graph graph, std::vector<LayerWeights> sources, const Kernels& kernels, int segment_frames, int threads,
                     ForcedAlgorithms forced)
    : graph_(checked(std::move(graph))),
      kernels_(kernels),
      threads_(checked_threads(threads)),
      forced_(std::move(forced)),
      packed_(graph_, kernels_, std::move(sources)),
      local_(std::make_unique<Local>(threads_)),
      process_(getpid()) {
  offline_ = program(segment_frames);
}

Generator::Local& Generator::local() {
  const long process = getpid();
  if (process_ != process) {
    // In a child process, which comes here first with one thread; the lock is taken nowhere else.
    const std::lock_guard lock(renewal_);
    if (process_ != process) {
      // The copy of the parent's pool has no threads to end, so it is left where it is.
      static_cast<void>(local_.release());
      local_ = std::make_unique<Local>(threads_);
      process_ = process;
    }
  }
  return *local_;
}

std::shared_ptr<const Program> Generator::program(int segment_frames) {
  Local& mine = local();
  const ThreadPool::Turn turn(mine.pool);
  const std::lock_guard lock(mine.lock);
  auto& program = programs_[segment_frames];
  if (!program) {
    Plan plan = plan_for(segment_frames);
    packed_.prepare(plan, mine.pool);
    program = std::make_shared<const Program>(graph_, kernels_, std::move(plan), packed_);
  }
  return program;
}

void Generator::run_alone(const Program& program, const Item& item, Team team, Workspace& workspace, const StopRequest& stop,
                          double* layer_seconds) {
  StreamState state(program);
  Walk walk(program, state, workspace, team, stop, layer_seconds);
  const Index segment = program.plan().segment_frames;
  float* audio = item.audio;
  Index frame = 0;
  // One turn per segment, so that a stream need not wait for the end of a long signal.
  const auto run = [&](Index end, bool final) {
    std::optional<ThreadPool::Turn> turn;
    if (team.pool) turn.emplace(*team.pool, stop);
    audio += walk.segment(frames_of(item.mel, frame, end), final, audio);
    frame = end;
  };
  while (frame + segment <= item.mel.frames) run(frame + segment, false);
  run(item.mel.frames, true);
}

void Generator::run(const std::vector<Item>& items, const StopRequest& stop) {
  Local& mine = local();
  const FlushDenormals mode;
  // As many as fill all threads go side by side: no waiting for each other. The rest get all threads each.
  const auto threads = static_cast<std::size_t>(threads_);
  const std::size_t abreast = threads > 1 ? items.size() / threads * threads : 0;
  if (abreast > 0) run_abreast({items.begin(), items.begin() + static_cast<Index>(abreast)}, mine, stop);
  if (abreast == items.size()) return;
  Loan workspace(mine, *offline_, threads_);
  for (std::size_t i = abreast; i < items.size(); ++i) {
    run_alone(*offline_, items[i], {&mine.pool}, *workspace, stop, nullptr);
  }
}

void Generator::run_abreast(const std::vector<Item>& items, Local& mine, const StopRequest& stop) {
  std::vector<std::unique_ptr<Loan>> workspaces;
  for (int i = 0; i < threads_; ++i) workspaces.push_back(std::make_unique<Loan>(mine, *offline_, 1));
  std::atomic<bool> stopped{false}, no_memory{false};
  const ThreadPool::Turn turn(mine.pool, stop);
  mine.pool.loop(static_cast<Index>(items.size()), [&](Index i, int thread) {
    // Only the caller may ask the outer world whether to stop; the others look at what it found.
    const StopRequest ask = [&] {
      if (thread == 0 && stop && stop()) stopped = true;
      return stopped.load() || no_memory.load();
    };
    if (stopped || no_memory) return;
    try {
      run_alone(*offline_, items[static_cast<std::size_t>(i)], {nullptr}, **workspaces[static_cast<std::size_t>(thread)], ask,
                nullptr);
    } catch (const Interrupted&) {
      stopped = true;
    } catch (const std::bad_alloc&) {
      no_memory = true;
    }
  });
  if (no_memory) throw std::bad_alloc();
  if (stopped) throw Interrupted();
}

std::vector<double> Generator::measure(const Item& item) {
  Local& mine = local();
  const FlushDenormals mode;
  Loan workspace(mine, *offline_, threads_);
  std::vector<double> seconds(offline_->plan().layers.size());
  run_alone(*offline_, item, {&mine.pool}, *workspace, {}, seconds.data());
  return seconds;
}

std::unique_ptr<Stream> Generator::stream(int segment_frames) {
  return std::unique_ptr<Stream>(new Stream(*this, program(segment_frames)));
}

std::size_t Generator::weight_bytes() {
  const std::lock_guard lock(local().lock);
  return packed_.bytes();
}

Stream::Stream(Generator& generator, std::shared_ptr<const Program> program)
    : generator_(generator),
      program_(std::move(program)),
      state_(*program_),
      pending_(static_cast<std::size_t>(generator.graph().pre.in_channels * program_->plan().segment_frames)) {}

Index Stream::samples_after_push(Index frames) const {
  const Index segment = segment_frames();
  const Index computed = frames_ + (waiting_ + frames) / segment * segment;
  return computed == 0 ? 0 : generator_.graph().determined(computed) - state_.samples;
}

Index Stream::samples_at_finish() const {
  const Index frames = frames_ + waiting_;
  return frames == 0 ? 0 : generator_.graph().output_length(frames) - state_.samples;
}

void Stream::push(MelView mel, float* audio, const StopRequest& stop) {
  const Index segment = segment_frames(), bands = generator_.graph().pre.in_channels;
  Index taken = 0;
  while (taken < mel.frames) {
    // Whole segments are read where they are.
    if (waiting_ == 0 && mel.frames - taken >= segment) {
      audio += run(frames_of(mel, taken, taken + segment), false, audio, stop);
      taken += segment;
      continue;
    }
    const Index count = std::min(segment - waiting_, mel.frames - taken);
    for (Index band = 0; band < bands; ++band) {
      std::copy_n(mel.data + band * mel.band_stride + taken, count, pending_.data() + band * segment + waiting_);
    }
    waiting_ += count;
    taken += count;
    if (waiting_ < segment) continue;
    waiting_ = 0;
    audio += run({pending_.data(), segment, segment}, false, audio, stop);
  }
}

void Stream::finish(float* audio, const StopRequest& stop) {
  finished_ = true;
  const Index rest = std::exchange(waiting_, 0);
  if (frames_ + rest > 0) run({pending_.data(), segment_frames(), rest}, true, audio, stop);
}

Index Stream::run(MelView mel, bool final, float* audio, const StopRequest& stop) {
  broken_ = true;
  Generator::Local& mine = generator_.local();
  const ThreadPool::Turn turn(mine.pool, stop);
  const FlushDenormals mode;
  Generator::Loan workspace(mine, *program_, generator_.threads_);
  Walk walk(*program_, state_, *workspace, {&mine.pool}, stop);
  const Index samples = walk.segment(mel, final, audio);
  frames_ += mel.frames;
  broken_ = false;
  return samples;
}

}  // namespace hifigan
