#include "core/thread_pool.h"

#include <chrono>
#include <stdexcept>
#include <string>
#include <system_error>

#include "core/placement.h"
#include "kernels/float_mode.h"

namespace hifigan {

namespace {

// About 50 microseconds: longer than what lies between two layers, shorter than what a user would notice.
constexpr int kSpins = 2000;

// How long a caller waits for the pool before it looks whether it should stop.
constexpr std::chrono::milliseconds kBetweenStopChecks{50};

void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

PoolLock::PoolLock(ThreadPool& pool, const StopRequest& stop) : pool_(pool) {
  std::unique_lock lock(pool_.queue_lock_);
  for (const PoolLock* other : pool_.queue_) {
    if (other->thread_ == thread_) placed_ = other;
  }
  if (placed_ == this) place_ = pool_.queue_.insert(pool_.queue_.end(), this);
  while (pool_.queue_.front() != placed_) {
    if (!stop) {
      pool_.queue_moved_.wait(lock);
      continue;
    }
    pool_.queue_moved_.wait_for(lock, kBetweenStopChecks);
    lock.unlock();
    const bool stopped = stop();
    lock.lock();
    if (!stopped) continue;
    if (placed_ == this) pool_.queue_.erase(place_);
    pool_.queue_moved_.notify_all();
    throw Stopped();
  }
}

PoolLock::~PoolLock() {
  if (placed_ != this) return;
  const std::lock_guard lock(pool_.queue_lock_);
  pool_.queue_.erase(place_);
  pool_.queue_moved_.notify_all();
}

ThreadPool::ThreadPool(int threads) : threads_(threads) {
  if (threads < 1) throw std::invalid_argument("a pool has at least 1 thread");
  shares_.reset(new Share[static_cast<std::size_t>(threads)]);
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard lock(sleep_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::start() {
  while (static_cast<int>(workers_.size()) < threads_ - 1) {
    const int thread = static_cast<int>(workers_.size()) + 1;
    try {
      workers_.emplace_back([this, thread] { serve(thread); });
    } catch (const std::system_error& error) {
      throw NoThread("the system gives this process " + std::to_string(thread) + " of the " + std::to_string(threads_) +
                     " threads that are asked for (" + error.code().message() + "): ask for fewer, or raise its limits of " +
                     "processes and memory");
    }
  }
}

void ThreadPool::run(Index pieces, Function function, void* body, const std::function<void()>& meanwhile) {
  if (threads_ == 1 || pieces == 1 || looping_) {
    for (Index piece = 0; piece < pieces; ++piece) function(body, piece, 0);
    return;
  }
  waker_.store(waker_processor(), std::memory_order_relaxed);  // before start: a new worker may sleep before this goes on
  start();
  function_ = function;
  body_ = body;
  for (int i = 0; i < threads_; ++i) {
    shares_[static_cast<std::size_t>(i)].next.store(pieces * i / threads_, std::memory_order_relaxed);
    shares_[static_cast<std::size_t>(i)].end = pieces * (i + 1) / threads_;
  }
  state_.fetch_add(1);
  if (asleep_.load() > 0) {
    { std::lock_guard lock(sleep_); }
    wake_.notify_all();
  }
  looping_ = true;
  work(0);
  state_.fetch_add(1);
  for (int spins = 0; inside_.load() != 0; ++spins) {
    if (spins < kSpins) {
      pause_briefly();
    } else {
      if (meanwhile) meanwhile();
      std::this_thread::yield();
    }
  }
  looping_ = false;
}

void ThreadPool::work(int thread) {
  for (int i = 0; i < threads_; ++i) {
    Share& share = shares_[static_cast<std::size_t>((thread + i) % threads_)];
    for (Index piece; (piece = share.next.fetch_add(1, std::memory_order_relaxed)) < share.end;) function_(body_, piece, thread);
  }
}

// Waits for a loop that this worker has not seen, awake at first; false when the pool ends.
bool ThreadPool::wait_for_loop(unsigned long seen) {
  const auto ready = [&] {
    const unsigned long state = state_.load();
    return (state % 2 == 1 && state != seen) || stopping_.load();
  };
  for (int spins = 0; spins < kSpins; ++spins) {
    if (ready()) return !stopping_.load();
    pause_briefly();
  }
  const KeptOff kept_off(waker_.load(std::memory_order_relaxed));
  std::unique_lock lock(sleep_);
  ++asleep_;
  wake_.wait(lock, ready);
  --asleep_;
  return !stopping_.load();
}

void ThreadPool::serve(int thread) {
  const FlushDenormals mode;
  unsigned long seen = 0;
  while (wait_for_loop(seen)) {
    ++inside_;
    const unsigned long state = state_.load();
    if (state % 2 == 1 && state != seen) {
      seen = state;
      work(thread);
    }
    --inside_;
  }
}

}  // namespace hifigan
