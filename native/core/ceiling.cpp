#include "core/ceiling.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <stdexcept>
#include <vector>

#include "core/aligned_buffer.h"
#include "core/thread_pool.h"
#include "core/thread_seconds.h"

namespace hifigan {

namespace {

// About 20 us per call on a fast core, so that asking the clock costs nothing.
constexpr Index kSteps = 4096;

double multiply_adds_of_one_thread(const Kernels& kernels, double seconds, float* sink) {
  double done = 0, elapsed = 0;
  const double start = thread_seconds();
  do {
    sink[0] = 0.999f;
    done += static_cast<double>(kernels.multiply_adds(kSteps, sink));
    elapsed = thread_seconds() - start;
  } while (elapsed < seconds);
  return done / elapsed;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Runs pass(piece) on all threads again and again, for about so many seconds; gives the passes per second.
template <class F>
double passes_per_second(ThreadPool& pool, double seconds, const F& pass) {
  const PoolLock lock(pool);
  const auto start = std::chrono::steady_clock::now();
  int passes = 0;
  do {
    pool.loop(pool.threads(), [&](Index piece, int) { pass(static_cast<std::size_t>(piece)); });
    ++passes;
  } while (seconds_since(start) < seconds);
  return passes / seconds_since(start);
}

void check(int threads, double seconds) {
  if (threads < 1) throw std::invalid_argument("at least 1 thread measures");
  if (!(seconds > 0 && seconds <= 10)) throw std::invalid_argument("seconds must be above 0, and at most 10");
}

}  // namespace

double multiply_adds_per_second(const Kernels& kernels, int threads, double seconds) {
  check(threads, seconds);
  ThreadPool pool(threads);
  std::vector<double> speeds(static_cast<std::size_t>(threads));
  const std::size_t line = whole_lines(static_cast<std::size_t>(kernels.lanes));
  AlignedBuffer sinks(line * speeds.size(), true);
  const PoolLock lock(pool);
  pool.loop(threads, [&](Index piece, int) {
    const auto i = static_cast<std::size_t>(piece);
    speeds[i] = multiply_adds_of_one_thread(kernels, seconds, sinks.data() + i * line);
  });
  return std::accumulate(speeds.begin(), speeds.end(), 0.0);
}

MemorySpeed memory_speed(int threads, std::size_t bytes, double seconds) {
  check(threads, seconds);
  ThreadPool pool(threads);
  const std::size_t share = std::max<std::size_t>(whole_lines(bytes / sizeof(float) / static_cast<std::size_t>(threads)), 16);
  const std::size_t shares = share * static_cast<std::size_t>(threads);
  // Written to once, so that every page is there.
  AlignedBuffer from(shares, true), to(shares, true);
  std::vector<std::uint32_t> sums(static_cast<std::size_t>(threads) * 16);
  const double reads = passes_per_second(pool, seconds / 2, [&](std::size_t i) {
    const float* x = from.data() + i * share;
    std::uint32_t sum = 0;
    for (std::size_t j = 0; j < share; ++j) {
      std::uint32_t bits;
      std::memcpy(&bits, x + j, sizeof bits);
      sum += bits;
    }
    sums[i * 16] += sum;
  });
  // The sums are used, or the compiler would not have to read anything.
  to.data()[0] = static_cast<float>(std::accumulate(sums.begin(), sums.end(), std::uint32_t{0}));
  const double copies = passes_per_second(pool, seconds / 2, [&](std::size_t i) {
    std::memcpy(to.data() + i * share, from.data() + i * share, share * sizeof(float));
  });
  const auto whole = static_cast<double>(shares * sizeof(float));
  return {reads * whole, 2 * copies * whole};
}

}  // namespace hifigan
