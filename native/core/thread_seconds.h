// Processor time of the calling thread.
#pragma once

#if defined(_WIN32)
#include <chrono>
#else
#include <time.h>
#endif

namespace hifigan {

// In seconds; what other threads and programs do in between does not count. On Windows it does: the system counts a thread's
// time in steps of 15.6 ms, longer than what is timed here, so the clock on the wall is read.
inline double thread_seconds() {
#if defined(_WIN32)
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
#else
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
#endif
}

}  // namespace hifigan
