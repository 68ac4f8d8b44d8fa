// The GIL given back while the core computes, and what Python does between two of its blocks: signals, interludes.
#pragma once

#include <nanobind/nanobind.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "bindings/gil.h"
#include "core/stop.h"
#include "kernels/float_mode.h"

namespace hifigan {

// Called between two blocks of whatever this thread computes; null if nothing is. See `call_interruptible`.
inline thread_local const nanobind::callable* interlude_of_this_thread = nullptr;

// Calls a function of Python; in the calls of the core that it makes, `interlude` is called from time to time.
inline nanobind::object call_interruptible(const nanobind::callable& function, const nanobind::callable& interlude) {
  struct Restored {
    const nanobind::callable* former = interlude_of_this_thread;
    ~Restored() { interlude_of_this_thread = former; }
  } restored;
  interlude_of_this_thread = &interlude;
  return function();
}

// Lets Python in from time to time: often enough for Ctrl-C and urgent work, rarely enough to leave the GIL to others.
class PythonBetween {
 public:
  explicit PythonBetween(bool interruptible) : interlude_(interruptible ? interlude_of_this_thread : nullptr) {}
  // Tells whether to stop.
  bool operator()() {
    const auto began = Clock::now();
    if (began < next_) return false;
    const FlushDenormals as_python_expects(false);
    const GilTaken gil;
    try {
      if (PyErr_CheckSignals() != 0) throw nanobind::python_error();
      if (interlude_) (*interlude_)();
    } catch (nanobind::python_error& error) {
      error_.emplace(std::move(error));
      return true;
    }
    // What is interrupted gets on as well, with a fifth of the time at least.
    const auto now = Clock::now();
    next_ = now + std::max<Clock::duration>(kInterval, (now - began) / 4);
    return false;
  }
  // The Python exception of a signal's handler or of the interlude.
  [[noreturn]] void raise() {
    if (error_) throw std::move(*error_);
    throw Stopped();
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::milliseconds kInterval{20};
  const nanobind::callable* const interlude_;
  Clock::time_point next_ = Clock::now() + kInterval;
  std::optional<nanobind::python_error> error_;
};

// Runs the core without the GIL. `interruptible` if it asks whether to stop between two loops alone, never inside of one.
template <class F>
void without_gil(bool interruptible, F&& f) {
  PythonBetween between(interruptible);
  try {
    const GilReleased release;
    f([&] { return between(); });
  } catch (const Stopped&) {
    between.raise();
  }
}

}  // namespace hifigan
