// The limits of the machine that speeds are held against.
#pragma once

#include <cstddef>

#include "kernels/kernels.h"

namespace hifigan {

// Multiply-adds per second of all threads together, per second of processor time: what others take of a core does not lower
// it. Takes about `seconds`. Throws NoThread.
double multiply_adds_per_second(const Kernels& kernels, int threads, double seconds);

struct MemorySpeed {
  double read_bytes;  // per second
  double copy_bytes;  // per second, each byte counted once as read and once as written
};

// Every thread reads, then copies, its own share of two buffers of so many bytes; each pass is timed from the first thread that
// starts to the last that ends, and takes about half of `seconds`. Throws std::bad_alloc and NoThread.
MemorySpeed memory_speed(int threads, std::size_t bytes, double seconds);

}  // namespace hifigan
