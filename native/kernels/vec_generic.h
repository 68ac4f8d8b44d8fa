// Four float32 lanes in the compiler's own vector type, for any processor that it knows (SSE2 on x86-64).
#pragma once

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace hifigan {
namespace generic {
namespace {

constexpr int kLanes = 4;
// Micro-kernel: kMaxRows x (kPanelVectors * kLanes) accumulators; 12 + 2 + 1 of SSE2's 16 registers.
constexpr int kPanelVectors = 2;
constexpr int kMaxRows = 6;

using Vec = float __attribute__((vector_size(16)));

#define HIFIGAN_INLINE inline __attribute__((always_inline))

HIFIGAN_INLINE Vec load(const float* p) {
  Vec v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
HIFIGAN_INLINE void store(float* p, Vec v) { __builtin_memcpy(p, &v, sizeof v); }
HIFIGAN_INLINE Vec broadcast(float f) { return Vec{f, f, f, f}; }
// Number k of the kLanes numbers at p, an aligned vector. SSE2 has one instruction that reads and spreads a number, if it may read
// the whole vector; a number by itself takes two.
HIFIGAN_INLINE Vec lane_of(const float* p, int k) {
#if defined(__SSE2__) && defined(__GNUC__)
  const __m128i v = _mm_load_si128(reinterpret_cast<const __m128i*>(p));
  __m128i spread;
  switch (k) {
    case 0: spread = _mm_shuffle_epi32(v, 0x00); break;
    case 1: spread = _mm_shuffle_epi32(v, 0x55); break;
    case 2: spread = _mm_shuffle_epi32(v, 0xaa); break;
    default: spread = _mm_shuffle_epi32(v, 0xff);
  }
  return reinterpret_cast<Vec>(spread);
#else
  return broadcast(p[k]);
#endif
}
HIFIGAN_INLINE Vec zero() { return Vec{}; }
HIFIGAN_INLINE Vec add(Vec a, Vec b) { return a + b; }
HIFIGAN_INLINE Vec sub(Vec a, Vec b) { return a - b; }
HIFIGAN_INLINE Vec mul(Vec a, Vec b) { return a * b; }
HIFIGAN_INLINE Vec div(Vec a, Vec b) { return a / b; }
// a * b + c, a * b - c and c - a * b; rounded twice, since the baseline has no fused operation.
HIFIGAN_INLINE Vec fma(Vec a, Vec b, Vec c) { return a * b + c; }
HIFIGAN_INLINE Vec fms(Vec a, Vec b, Vec c) { return a * b - c; }
HIFIGAN_INLINE Vec fnma(Vec a, Vec b, Vec c) { return c - a * b; }
// The second operand if either is NaN.
HIFIGAN_INLINE Vec max(Vec a, Vec b) { return a > b ? a : b; }
// The sum of all lanes: the upper half is added to the lower one, and so on.
HIFIGAN_INLINE float sum_of(Vec v) { return (v[0] + v[2]) + (v[1] + v[3]); }

}  // namespace
}  // namespace generic
}  // namespace hifigan
