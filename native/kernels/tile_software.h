// The tile unit and its vectors in plain C++: the same bits as those of AMX and AVX-512, on any processor, and slow. For tests.
//
// A product adds to each sum two chains of fused multiply-adds, each from zero, over the even and the odd numbers of a row;
// denormals count as zero and are flushed. So TDPBF16PS did it in 1,024,000 results over the whole range of exponents, on an
// Emerald Rapids; one chain, or sums of pairs, differed in a quarter of them.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/float_mode.h"

namespace hifigan {
namespace amx_software {
namespace {

#define HIFIGAN_INLINE inline __attribute__((always_inline))
// Touches nothing but the calling thread's own tiles: the thread sanitizer, which slows it down a hundredfold, has no use for it.
#define HIFIGAN_OWN_MEMORY __attribute__((no_sanitize("thread")))
// Copies of it in every loop would take a minute to compile and a megabyte.
#define HIFIGAN_ONCE __attribute__((noinline)) inline

constexpr int kLanes = 16;

struct Vec {
  float lane[kLanes];
};

template <class F>
HIFIGAN_INLINE Vec each(const F& f) {
  Vec v;
  for (int i = 0; i < kLanes; ++i) v.lane[i] = f(i);
  return v;
}

HIFIGAN_INLINE Vec load(const float* p) {
  Vec v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
HIFIGAN_INLINE void store(float* p, const Vec& v) { __builtin_memcpy(p, &v, sizeof v); }
HIFIGAN_INLINE Vec broadcast(float f) {
  return each([&](int) { return f; });
}
HIFIGAN_INLINE Vec zero() { return broadcast(0.0f); }
HIFIGAN_INLINE Vec add(const Vec& a, const Vec& b) {
  return each([&](int i) { return a.lane[i] + b.lane[i]; });
}
HIFIGAN_INLINE Vec sub(const Vec& a, const Vec& b) {
  return each([&](int i) { return a.lane[i] - b.lane[i]; });
}
HIFIGAN_INLINE Vec mul(const Vec& a, const Vec& b) {
  return each([&](int i) { return a.lane[i] * b.lane[i]; });
}
HIFIGAN_INLINE Vec div(const Vec& a, const Vec& b) {
  return each([&](int i) { return a.lane[i] / b.lane[i]; });
}
// a * b + c and c - a * b, rounded once, by a call for each lane where the processor has no instruction.
HIFIGAN_ONCE Vec fma(const Vec& a, const Vec& b, const Vec& c) {
  return each([&](int i) { return std::fma(a.lane[i], b.lane[i], c.lane[i]); });
}
HIFIGAN_ONCE Vec fnma(const Vec& a, const Vec& b, const Vec& c) {
  return each([&](int i) { return std::fma(-a.lane[i], b.lane[i], c.lane[i]); });
}
// The second operand if either is NaN.
HIFIGAN_INLINE Vec max(const Vec& a, const Vec& b) {
  return each([&](int i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; });
}
HIFIGAN_INLINE Vec min(const Vec& a, const Vec& b) {
  return each([&](int i) { return a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]; });
}
// The sum of all lanes: the upper half is added to the lower one, and so on.
HIFIGAN_INLINE float sum_of(Vec v) {
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int l = 0; l < half; ++l) v.lane[l] += v.lane[l + half];
  }
  return v.lane[0];
}

HIFIGAN_INLINE std::uint32_t to_bits(float f) {
  std::uint32_t bits;
  __builtin_memcpy(&bits, &f, sizeof bits);
  return bits;
}
HIFIGAN_INLINE float from_bits(std::uint32_t bits) {
  float f;
  __builtin_memcpy(&f, &bits, sizeof f);
  return f;
}

// To bfloat16, half away from zero: it differs from half to even in exact ties alone.
HIFIGAN_ONCE Vec rounded(const Vec& v) {
  return each([&](int i) { return from_bits((to_bits(v.lane[i]) + 0x8000u) & 0xffff0000u); });
}
// 16 pairs of bfloat16: the lower halves, and the upper ones.
HIFIGAN_ONCE void load_line(const float* p, Vec& low, Vec& high) {
  const Vec line = load(p);
  low = each([&](int i) { return from_bits(to_bits(line.lane[i]) << 16); });
  high = each([&](int i) { return from_bits(to_bits(line.lane[i]) & 0xffff0000u); });
}
// Both vectors rounded, as a line.
HIFIGAN_ONCE void store_line(float* p, const Vec& low, const Vec& high) {
  const Vec l = rounded(low), h = rounded(high);
  for (int i = 0; i < kLanes; ++i) {
    const std::uint32_t pair = to_bits(l.lane[i]) >> 16 | to_bits(h.lane[i]);
    __builtin_memcpy(p + i, &pair, sizeof pair);
  }
}

// Four tiles of sums, [left][right], of two left operands and two right ones. Denormals are flushed as long as it lives.
class Tiles {
 public:
  HIFIGAN_ONCE void zero() {
    for (auto& tile : sums_) {
      for (float& sum : tile) sum = 0.0f;
    }
  }
  template <int kIndex>
  HIFIGAN_ONCE void load_left(const float* rows, Index stride) {
    left_[kIndex].ordinary = true;
    for (int row = 0; row < 16; ++row) left_[kIndex].widen(rows + row * stride, row);
  }
  template <int kIndex>
  HIFIGAN_ONCE void load_right(const float* tile, bool) {
    right_[kIndex].ordinary = true;
    for (int pair = 0; pair < 16; ++pair) right_[kIndex].widen(tile + pair * kLanes, pair);
  }
  template <int kLeft, int kRight>
  HIFIGAN_ONCE void multiply() {
    const Operand &a = left_[kLeft], &b = right_[kRight];
    float* const sums = sums_[2 * kLeft + kRight];
    if (a.ordinary && b.ordinary) {
      multiply_ordinary(a, b, sums);
    } else {
      multiply_unusual(a, b, sums);
    }
  }
  // As [2 vectors][32 rows][16].
  HIFIGAN_ONCE void store(float* to) const {
    for (int left = 0; left < 2; ++left) {
      for (int right = 0; right < 2; ++right) __builtin_memcpy(to + (2 * right + left) * 256, sums_[2 * left + right], 1024);
    }
  }

 private:
  using Four = float __attribute__((vector_size(16)));

  struct Operand {
    bool ordinary;             // all numbers are zero, or from 2^-62 to below 2^63: products are zero or well within float32
    float numbers[2][16][16];  // [even, odd][row of the tile][pair or column]

    void widen(const float* line, int row) {
      std::uint32_t pairs[16], halves[2][16], unusual = 0;
      __builtin_memcpy(pairs, line, sizeof pairs);
      for (int i = 0; i < 16; ++i) {
        halves[0][i] = pairs[i] << 16;
        halves[1][i] = pairs[i] & 0xffff0000u;
      }
      for (int odd = 0; odd < 2; ++odd) {
        for (int i = 0; i < 16; ++i) {
          const std::uint32_t exponent = halves[odd][i] >> 23 & 0xff;
          unusual |= static_cast<std::uint32_t>(exponent != 0) & static_cast<std::uint32_t>(exponent - 65 >= 125);
        }
        __builtin_memcpy(numbers[odd][row], halves[odd], sizeof halves[odd]);
      }
      ordinary &= unusual == 0;
    }
  };

  // Products of two numbers of 8 bits are exact where they are within a type's range, in double always. Adding one rounds once
  // then, as a fused multiply-add does: in double, a sum that does not fit lies nowhere near the middle of two float32.
  HIFIGAN_OWN_MEMORY static void multiply_unusual(const Operand& a, const Operand& b, float* sums) {
    for (int row = 0; row < 16; ++row) {
      for (int n = 0; n < 16; ++n) {
        float chains[2] = {};
        for (int odd = 0; odd < 2; ++odd) {
          for (int pair = 0; pair < 16; ++pair) {
            const double product = double{a.numbers[odd][row][pair]} * double{b.numbers[odd][pair][n]};
            chains[odd] = static_cast<float>(product + double{chains[odd]});
          }
        }
        sums[16 * row + n] += chains[0] + chains[1];
      }
    }
  }

  HIFIGAN_OWN_MEMORY static void multiply_ordinary(const Operand& a, const Operand& b, float* sums) {
    for (int row = 0; row < 16; ++row) {
      Four chains[2][4] = {};
      for (int odd = 0; odd < 2; ++odd) {
        for (int pair = 0; pair < 16; ++pair) {
          const float factor = a.numbers[odd][row][pair];
          for (int n = 0; n < 4; ++n) {
            Four numbers;
            __builtin_memcpy(&numbers, b.numbers[odd][pair] + 4 * n, sizeof numbers);
            chains[odd][n] += factor * numbers;
          }
        }
      }
      for (int n = 0; n < 4; ++n) {
        Four sum;
        __builtin_memcpy(&sum, sums + 16 * row + 4 * n, sizeof sum);
        sum += chains[0][n] + chains[1][n];
        __builtin_memcpy(sums + 16 * row + 4 * n, &sum, sizeof sum);
      }
    }
  }

  const FlushDenormals mode_;
  float sums_[4][256];
  Operand left_[2], right_[2];
};

}  // namespace
}  // namespace amx_software
}  // namespace hifigan
