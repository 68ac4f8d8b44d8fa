// NEON of arm64: 4 float32 lanes, 32 registers.
#pragma once

#include <arm_neon.h>

namespace hifigan {
namespace neon {
namespace {

constexpr int kLanes = 4;
// Micro-kernel: kMaxRows x (kPanelVectors * kLanes) accumulators; 24 + 2 + 1 of the 32 registers.
constexpr int kPanelVectors = 2;
constexpr int kMaxRows = 12;

using Vec = float32x4_t;

#define HIFIGAN_INLINE inline __attribute__((always_inline))

HIFIGAN_INLINE Vec load(const float* p) { return vld1q_f32(p); }
HIFIGAN_INLINE void store(float* p, Vec v) { vst1q_f32(p, v); }
HIFIGAN_INLINE Vec broadcast(float f) { return vdupq_n_f32(f); }
// Number k of the kLanes numbers at p, an aligned vector.
HIFIGAN_INLINE Vec lane_of(const float* p, int k) { return broadcast(p[k]); }
HIFIGAN_INLINE Vec zero() { return vdupq_n_f32(0.0f); }
HIFIGAN_INLINE Vec add(Vec a, Vec b) { return vaddq_f32(a, b); }
HIFIGAN_INLINE Vec sub(Vec a, Vec b) { return vsubq_f32(a, b); }
HIFIGAN_INLINE Vec mul(Vec a, Vec b) { return vmulq_f32(a, b); }
HIFIGAN_INLINE Vec div(Vec a, Vec b) { return vdivq_f32(a, b); }
// a * b + c, a * b - c and c - a * b, rounded once.
HIFIGAN_INLINE Vec fma(Vec a, Vec b, Vec c) { return vfmaq_f32(c, a, b); }
HIFIGAN_INLINE Vec fms(Vec a, Vec b, Vec c) { return vfmaq_f32(vnegq_f32(c), a, b); }
HIFIGAN_INLINE Vec fnma(Vec a, Vec b, Vec c) { return vfmsq_f32(c, a, b); }
// NaN if either is.
HIFIGAN_INLINE Vec max(Vec a, Vec b) { return vmaxq_f32(a, b); }
// The sum of all lanes: the upper half is added to the lower one, and so on.
HIFIGAN_INLINE float sum_of(Vec v) {
  const float32x2_t two = vadd_f32(vget_low_f32(v), vget_high_f32(v));
  return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}

}  // namespace
}  // namespace neon
}  // namespace hifigan
