// Measures the floating-point ceiling: independent multiply-adds in registers, on every thread at once.
// usage: ceiling THREADS SECONDS ROUNDS; prints one figure in GFLOPS per round.
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <thread>
#include <vector>

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif
// Enough chains to cover the latency of two or more pipes, few enough for 16 registers with two operands.
constexpr int kChains = kLanes == 16 ? 16 : 12;
constexpr int kSteps = 4096;

typedef float Vector __attribute__((vector_size(kLanes * sizeof(float))));

namespace {

// Processor time of the calling thread: what others take of the core does not lower the ceiling.
double thread_seconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Each chain stays in its own register: the loop over chains is unrolled whole.
double one_thread(double seconds) {
  Vector sums[kChains];
  for (int i = 0; i < kChains; ++i) sums[i] = Vector{} + static_cast<float>(i);
  Vector factor = Vector{} + 0.999F, term = Vector{} + 0.001F;
  // Unknown to the optimiser, so that nothing is computed beforehand.
  asm volatile("" : "+m"(factor), "+m"(term));
  long repeats = 0;
  const double start = thread_seconds();
  do {
    for (int step = 0; step < kSteps; ++step) {
#pragma GCC unroll 16
      for (int i = 0; i < kChains; ++i) sums[i] = sums[i] * factor + term;
    }
    ++repeats;
  } while (thread_seconds() - start < seconds);
  const double elapsed = thread_seconds() - start;
  Vector total{};
  for (int i = 0; i < kChains; ++i) total += sums[i];
  asm volatile("" : "+m"(total));
  return 2.0 * kLanes * kChains * kSteps * static_cast<double>(repeats) / elapsed / 1e9;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const int threads = std::atoi(argv[1]), rounds = std::atoi(argv[3]);
  const double seconds = std::atof(argv[2]);
  for (int round = 0; round < rounds; ++round) {
    std::vector<double> figures(static_cast<std::size_t>(threads));
    std::vector<std::thread> pool;
    for (auto& figure : figures) pool.emplace_back([&figure, seconds] { figure = one_thread(seconds); });
    double total = 0;
    for (auto& thread : pool) thread.join();
    for (const double figure : figures) total += figure;
    std::printf("%.3f\n", total);
  }
}
