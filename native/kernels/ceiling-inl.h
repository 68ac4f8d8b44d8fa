// The most multiply-adds that one thread can do: as many independent chains as the micro-kernel has accumulators, which stay
// in registers and cover the latency of the pipes. Included inside the instruction set's namespace.

constexpr int kChains = kPanelVectors * kMaxRows;

// Runs so many steps on every chain and returns the multiply-adds done. `sink` gets kLanes floats, so that nothing is left out.
Index multiply_adds(Index steps, float* sink) {
  Vec sums[kChains];
  // The sums go to a fixed point, far from infinity and from denormals.
  const Vec factor = broadcast(sink[0]), term = broadcast(1.0f - sink[0]);
  for (int chain = 0; chain < kChains; ++chain) sums[chain] = broadcast(static_cast<float>(chain));
  for (Index step = 0; step < steps; ++step) {
    // Unrolled whole, or the sums would live in memory.
#pragma GCC unroll 32
    for (int chain = 0; chain < kChains; ++chain) sums[chain] = fma(sums[chain], factor, term);
  }
  Vec total = zero();
  for (int chain = 0; chain < kChains; ++chain) total = add(total, sums[chain]);
  store(sink, total);
  return steps * kChains * kLanes;
}
