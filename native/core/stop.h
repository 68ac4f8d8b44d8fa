// How a long computation is asked to stop.
#pragma once

#include <functional>
#include <stdexcept>

namespace hifigan {

// Asked now and then by the thread that called; true stops the computation.
using StopRequest = std::function<bool()>;

// Thrown out of a computation that was asked to stop; a stream that it belongs to cannot go on.
struct Stopped : std::runtime_error {
  Stopped() : std::runtime_error("stopped") {}
};

}  // namespace hifigan
