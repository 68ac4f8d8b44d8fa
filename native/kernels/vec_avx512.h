// AVX-512 (F, BW, DQ, VL): 16 float32 lanes, 32 registers.
#pragma once

#include <immintrin.h>

namespace hifigan {
namespace avx512 {
namespace {

constexpr int kLanes = 16;
// Micro-kernel: kMaxRows x (kPanelVectors * kLanes) accumulators; 28 + 2 + 1 of the 32 registers.
constexpr int kPanelVectors = 2;
constexpr int kMaxRows = 14;

using Vec = __m512;

#define HIFIGAN_INLINE inline __attribute__((always_inline))

HIFIGAN_INLINE Vec load(const float* p) { return _mm512_loadu_ps(p); }
HIFIGAN_INLINE void store(float* p, Vec v) { _mm512_storeu_ps(p, v); }
HIFIGAN_INLINE Vec broadcast(float f) { return _mm512_set1_ps(f); }
// Number k of the kLanes numbers at p, an aligned vector.
HIFIGAN_INLINE Vec lane_of(const float* p, int k) { return broadcast(p[k]); }
HIFIGAN_INLINE Vec zero() { return _mm512_setzero_ps(); }
HIFIGAN_INLINE Vec add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
HIFIGAN_INLINE Vec sub(Vec a, Vec b) { return _mm512_sub_ps(a, b); }
HIFIGAN_INLINE Vec mul(Vec a, Vec b) { return _mm512_mul_ps(a, b); }
// a * b + c, a * b - c and c - a * b, rounded once.
HIFIGAN_INLINE Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
HIFIGAN_INLINE Vec fms(Vec a, Vec b, Vec c) { return _mm512_fmsub_ps(a, b, c); }
HIFIGAN_INLINE Vec fnma(Vec a, Vec b, Vec c) { return _mm512_fnmadd_ps(a, b, c); }
// The second operand if either is NaN. (GCC 12 warns of the undefined vector inside the intrinsic without a mask.)
HIFIGAN_INLINE Vec max(Vec a, Vec b) { return _mm512_maskz_max_ps(0xffff, a, b); }
HIFIGAN_INLINE Vec div(Vec a, Vec b) { return _mm512_div_ps(a, b); }
// The sum of all lanes: the upper half is added to the lower one, and so on.
HIFIGAN_INLINE float sum_of(Vec v) {
  const __m256 eight = _mm256_add_ps(_mm512_maskz_extractf32x8_ps(0xff, v, 0), _mm512_maskz_extractf32x8_ps(0xff, v, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

}  // namespace
}  // namespace avx512
}  // namespace hifigan
