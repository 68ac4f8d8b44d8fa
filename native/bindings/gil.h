// The GIL, given back and taken for the length of a block, also where the interpreter ends meanwhile.
#pragma once

#include <nanobind/nanobind.h>

#include <chrono>
#include <thread>

namespace hifigan {

// While the interpreter ends, Python before 3.14 ends a daemon thread that asks for the GIL by unwinding its stack (pthread_exit),
// and a destructor on it would abort the process. So the thread waits for that end instead, as it does from 3.14 on.
template <class Take>
void take_or_wait_for_ever(const Take& take) {
  try {
    take();
  } catch (...) {
    for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
  }
}

class GilReleased {
 public:
  GilReleased() : thread_(PyEval_SaveThread()) {}
  ~GilReleased() {
    take_or_wait_for_ever([this] { PyEval_RestoreThread(thread_); });
  }
  GilReleased(const GilReleased&) = delete;
  GilReleased& operator=(const GilReleased&) = delete;

 private:
  PyThreadState* const thread_;
};

class GilTaken {
 public:
  GilTaken() {
    take_or_wait_for_ever([this] { state_ = PyGILState_Ensure(); });
  }
  ~GilTaken() { PyGILState_Release(state_); }
  GilTaken(const GilTaken&) = delete;
  GilTaken& operator=(const GilTaken&) = delete;

 private:
  PyGILState_STATE state_;
};

}  // namespace hifigan
