// Threads that share the loops of one caller at a time.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <type_traits>
#include <vector>

#include "core/stop.h"
#include "kernels/kernels.h"

namespace hifigan {

class PoolLock;

// The system gives no more threads; the loop has not begun.
struct NoThread : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A pool of `threads - 1` workers beside the caller. Workers start with the first loop, spin for some microseconds between
// loops and sleep otherwise. A loop's pieces are claimed, each thread's own share first, then what others left: a thread that
// the system put aside delays nobody. Whoever runs loops holds the PoolLock; others wait.
class ThreadPool {
 public:
  // Throws std::invalid_argument if there are none.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return threads_; }

  // Calls f(piece, thread) for every piece in [0, pieces), thread in [0, threads()); returns when all are done. The
  // caller holds the PoolLock. f must not throw; a loop within f, which its caller alone may run, is run by that thread.
  // `meanwhile`, for which the same holds, is called again and again while the caller waits for long pieces of others.
  // Throws NoThread.
  template <class F>
  void loop(Index pieces, F&& f, const std::function<void()>& meanwhile = {}) {
    using Body = std::remove_reference_t<F>;
    run(pieces, [](void* body, Index piece, int thread) { (*static_cast<Body*>(body))(piece, thread); }, &f, meanwhile);
  }

 private:
  friend PoolLock;
  using Function = void (*)(void* body, Index piece, int thread);
  struct alignas(64) Share {
    std::atomic<Index> next{0};
    Index end = 0;
  };

  void start();
  void run(Index pieces, Function function, void* body, const std::function<void()>& meanwhile);
  void work(int thread);
  void serve(int thread);
  bool wait_for_loop(unsigned long seen);

  const int threads_;
  std::mutex queue_lock_;
  std::condition_variable queue_moved_;
  std::list<const PoolLock*> queue_;  // the first holds the pool
  std::vector<std::thread> workers_;
  std::unique_ptr<Share[]> shares_;
  Function function_ = nullptr;
  void* body_ = nullptr;
  bool looping_ = false;  // of the thread that holds the pool
  // Odd while a loop is open; a new number for each loop. A worker counts itself in `inside_` before it looks, and the caller
  // closes the loop and waits for `inside_` to be 0 before it touches anything that the loop used.
  alignas(64) std::atomic<unsigned long> state_{0};
  alignas(64) std::atomic<int> inside_{0};
  std::atomic<int> asleep_{0};
  std::atomic<int> waker_{-1};  // the processor on which the last loop was begun, see placement.h
  std::atomic<bool> stopping_{false};
  std::mutex sleep_;
  std::condition_variable wake_;
};

// The right to run loops; given in the order in which callers came. A thread that has it, or waits for it, may ask again
// where it was asked whether to stop, between two loops: what it computes there comes with the right that it has.
class PoolLock {
 public:
  // Waits; throws Stopped if `stop` says so meanwhile.
  explicit PoolLock(ThreadPool& pool, const StopRequest& stop = {});
  ~PoolLock();
  PoolLock(const PoolLock&) = delete;
  PoolLock& operator=(const PoolLock&) = delete;

 private:
  ThreadPool& pool_;
  const std::thread::id thread_ = std::this_thread::get_id();
  const PoolLock* placed_ = this;  // whose place counts: this one's, or that of the first of its thread
  std::list<const PoolLock*>::iterator place_;
};

}  // namespace hifigan
