// Where the system puts a thread that it wakes.
#pragma once

#if defined(__x86_64__) && defined(__linux__)
#include <sched.h>
#endif

namespace hifigan {

// The processor that the calling thread is on; -1 where no sleeper has to be kept off it.
int waker_processor();

// While this lives, the system does not put the calling thread, which is about to sleep, on the processor of the thread that will
// wake it and go on to compute there.
//
// Linux takes a processor of a virtual machine that rests for one that the host holds back (vcpu_is_preempted), finds none free
// for a woken thread and lets it share its waker's until the next balancing, 4 ms later. Elsewhere nothing is done.
class KeptOff {
 public:
  explicit KeptOff(int processor);
  ~KeptOff();
  KeptOff(const KeptOff&) = delete;
  KeptOff& operator=(const KeptOff&) = delete;

#if defined(__x86_64__) && defined(__linux__)
 private:
  bool narrowed_ = false;
  bool as_process_ = false;  // the thread's processors were those of the process's first thread
  cpu_set_t before_{}, narrow_{};
#endif
};

}  // namespace hifigan
