// The functions of native/cuda/kernels/instructions.h in plain C++: a block's threads are fibers of one thread of the host, the
// instructions of a warp wait for its 32 lanes. What a card leaves undefined shows: copies land when they are waited for, every
// access of device memory is looked up, and errors are races of threads and threads that wait for each other for ever.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "cuda/launch.h"
#include "emulated_block.h"

namespace hifigan::cuda {

struct Words {
  Word x, y, z, w;
};

#define HIFIGAN_DEVICE inline
#define HIFIGAN_UNROLL
#define HIFIGAN_NO_UNROLL
#define HIFIGAN_KERNEL(THREADS, BLOCKS, NAME, PARAMETER)                             \
  void NAME(PARAMETER);                                                              \
  static const hifigan::cuda::Registered registered_##NAME(#NAME, THREADS, NAME);    \
  void NAME(PARAMETER)

struct Kernel {
  int threads;
  std::size_t parameter_bytes;
  std::function<void(const void*)> call;
};
inline std::map<std::string, Kernel>& kernels() {
  static std::map<std::string, Kernel> all;
  return all;
}
struct Registered {
  template <class Parameter>
  Registered(const char* name, int threads, void (*kernel)(Parameter)) {
    kernels()[name] = {threads, sizeof(Parameter), [kernel](const void* p) { kernel(*static_cast<const Parameter*>(p)); }};
  }
};

HIFIGAN_DEVICE int thread_index() { return Block::now->current; }
HIFIGAN_DEVICE int block_x() { return Block::now->x; }
HIFIGAN_DEVICE int block_y() { return Block::now->y; }
HIFIGAN_DEVICE Word shared_start() { return 0; }
HIFIGAN_DEVICE void block_barrier() { Block::now->barrier(); }
HIFIGAN_DEVICE void warp_barrier() { Block::now->warp_barrier(); }
HIFIGAN_DEVICE void copy16(Word to, const void* from, bool inside) { Block::now->copy(to, from, inside); }
HIFIGAN_DEVICE void commit_copies() { Block::now->commit(); }
template <int LEFT>
HIFIGAN_DEVICE void wait_copies() {
  Block::now->await(LEFT);
}

template <class Type>
HIFIGAN_DEVICE Type read(const void* from) {
  Block::now->touch_global(from, sizeof(Type), false);
  Type value;
  std::memcpy(&value, from, sizeof(Type));
  return value;
}
template <class Type>
HIFIGAN_DEVICE void write(void* to, const Type& value) {
  Block::now->touch_global(to, sizeof(Type), true);
  std::memcpy(to, &value, sizeof(Type));
}
HIFIGAN_DEVICE Words load16(const void* from) { return read<Words>(from); }
HIFIGAN_DEVICE Word load4(const void* from) { return read<Word>(from); }
HIFIGAN_DEVICE Word load2(const void* from) { return read<std::uint16_t>(from); }
HIFIGAN_DEVICE double load_double(const void* from) { return read<double>(from); }
HIFIGAN_DEVICE float of_bits(Word bits) {
  float v;
  std::memcpy(&v, &bits, 4);
  return v;
}
HIFIGAN_DEVICE Word bits_of(float v) {
  Word bits;
  std::memcpy(&bits, &v, 4);
  return bits;
}
HIFIGAN_DEVICE float load_float(const void* from) { return read<float>(from); }
HIFIGAN_DEVICE void store4(void* to, Word v) { write(to, v); }
HIFIGAN_DEVICE void store16(void* to, const Words& v) { write(to, v); }
HIFIGAN_DEVICE void store_float(void* to, float v) { write(to, v); }
// To at least `to`, in any order with others that do the same or read.
template <class Type>
Type raised(void* place, Type to) {
  check_access(place, sizeof(Type));
  Type before;
  std::memcpy(&before, place, sizeof(Type));
  to = std::max(before, to);
  std::memcpy(place, &to, sizeof(Type));
  return before;
}
HIFIGAN_DEVICE void raise(float* to, float v) {
  raised(to, static_cast<std::int32_t>(bits_of(v) & 0x7fffffff));
}
HIFIGAN_DEVICE void store_shared(Word to, Word v) { std::memcpy(Block::now->shared(to, 4, true), &v, 4); }
HIFIGAN_DEVICE void store_shared16(Word to, const Words& v) { std::memcpy(Block::now->shared(to, 16, true), &v, 16); }
HIFIGAN_DEVICE Words load_shared16(Word from) {
  Words v;
  std::memcpy(&v, Block::now->shared(from, 16, false), 16);
  return v;
}

// float16 of a float, rounded to nearest even; IEEE 754-2008.
inline std::uint16_t half_of(float f) {
  std::uint32_t bits;
  std::memcpy(&bits, &f, 4);
  const std::uint32_t sign = bits >> 16 & 0x8000, rest = bits & 0x7fffffff;
  if (rest > 0x7f800000) return static_cast<std::uint16_t>(sign | 0x7fff);
  if (rest >= 0x477ff000) return static_cast<std::uint16_t>(sign | 0x7c00);
  if (rest < 0x38800000) {  // below the normal numbers, in steps of 2^-24; nearbyint rounds to even
    return static_cast<std::uint16_t>(sign | static_cast<std::uint32_t>(std::nearbyint(std::ldexp(std::fabs(f), 24))));
  }
  const std::uint32_t shifted = rest - 0x38000000;
  return static_cast<std::uint16_t>(sign | ((shifted + 0xfff + (shifted >> 13 & 1)) >> 13));
}
inline float float_of(std::uint32_t half) {
  static const std::vector<float> table = [] {
    std::vector<float> all(65536);
    for (std::uint32_t h = 0; h < 65536; ++h) {
      const int exponent = static_cast<int>(h >> 10 & 31);
      const float part = static_cast<float>(h & 1023);
      float v = exponent == 0    ? std::ldexp(part, -24)
                : exponent == 31 ? (part == 0 ? INFINITY : NAN)
                                 : std::ldexp(part + 1024, exponent - 25);
      all[h] = h & 0x8000 ? -v : v;
    }
    return all;
  }();
  return table[half & 0xffff];
}
HIFIGAN_DEVICE Word to_halves(float low, float high) { return half_of(low) | static_cast<Word>(half_of(high)) << 16; }
HIFIGAN_DEVICE float low_half(Word v) { return float_of(v); }
HIFIGAN_DEVICE float high_half(Word v) { return float_of(v >> 16); }
HIFIGAN_DEVICE float larger(float a, float b) { return std::fmax(a, b); }
HIFIGAN_DEVICE float larger_or_none(float a, float b) { return std::isnan(a) ? a : std::isnan(b) ? b : std::fmax(a, b); }
HIFIGAN_DEVICE float smaller(float a, float b) { return std::fmin(a, b); }
HIFIGAN_DEVICE float magnitude(float a) { return std::fabs(a); }
HIFIGAN_DEVICE float multiply_add(float a, float b, float c) { return std::fmaf(a, b, c); }
HIFIGAN_DEVICE float hyperbolic_tangent(float a) { return std::tanh(a); }

HIFIGAN_DEVICE void load_rows(Word row, Word (&v)[4]) {
  struct Brought {
    Word row;
    Word* v;
  } mine{row, v};
  Block::now->together(&mine, [](void** all) {
    for (int block = 0; block < 4; ++block) {
      for (int lane = 0; lane < 32; ++lane) {
        const int named_by = 8 * block + lane / 4;
        const Word from = static_cast<Brought*>(all[named_by])->row;
        if (from % 16) throw IllegalAccess("a row in shared memory that is no multiple of 16 bytes");
        const char* const word = Block::now->shared(from + static_cast<Word>(lane % 4) * 4, 4, false, named_by);
        std::memcpy(&static_cast<Brought*>(all[lane])->v[block], word, 4);
      }
    }
  });
}

// The sum of 8 products and what was there, as the product units have it: exact products, cut off 24 bits below the largest of
// them, the sum cut off as a float.
inline float cut_sum(float before, const float* a, const float* b) {
  float any = 0.0f;
  for (int k = 0; k < 8; ++k) any += std::fabs(a[k] * b[k]);
  if (any == 0.0f) return before;  // most of what pads a small network
  double terms[9], largest = std::fabs(static_cast<double>(before));
  terms[8] = before;
  for (int k = 0; k < 8; ++k) terms[k] = static_cast<double>(a[k]) * b[k];
  for (int k = 0; k < 8; ++k) largest = std::max(largest, std::fabs(terms[k]));
  if (!(largest < INFINITY)) return before + a[0] * b[0];
  if (largest == 0) return 0;
  const auto power_of_two = [](int exponent) {
    const std::uint64_t bits = static_cast<std::uint64_t>(1023 + exponent) << 52;
    double power;
    std::memcpy(&power, &bits, 8);
    return power;
  };
  const int exponent = std::ilogb(largest);
  const double up = power_of_two(24 - exponent);
  std::int64_t sum = 0;
  for (const double term : terms) sum += static_cast<std::int64_t>(term * up);
  std::uint64_t size = static_cast<std::uint64_t>(sum < 0 ? -sum : sum);
  for (std::uint64_t low = 1; size >> 24 >= low; low <<= 1) size &= ~low;  // the bits below a float's 24
  const double result = static_cast<double>(size) * power_of_two(exponent - 24);
  return static_cast<float>(sum < 0 ? -result : result);
}

// D[16, 8] += A[16, 16] * B[16, 8], of which each lane has the words that `a`, `b` and `d` give for it.
template <class A, class B, class D>
void multiply_block(const A& a, const B& b, const D& d) {
  float left[16][16], right[8][16];
  for (int lane = 0; lane < 32; ++lane) {
    for (int q = 0; q < 4; ++q) {
      float* row = left[lane / 4 + q % 2 * 8] + 2 * (lane % 4) + q / 2 * 8;
      row[0] = low_half(a(lane)[q]), row[1] = high_half(a(lane)[q]);
    }
    for (int q = 0; q < 2; ++q) {
      float* column = right[lane / 4] + 2 * (lane % 4) + q * 8;
      column[0] = low_half(b(lane)[q]), column[1] = high_half(b(lane)[q]);
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    for (int q = 0; q < 4; ++q) {
      const float* row = left[lane / 4 + q / 2 * 8];
      const float* column = right[2 * (lane % 4) + q % 2];
      float& sum = d(lane)[q];
      sum = cut_sum(cut_sum(sum, row, column), row + 8, column + 8);
    }
  }
}

template <int MT, int NB>
HIFIGAN_DEVICE void products(float (&d)[MT][NB][4], const Word (&a)[MT][4], const Words (&b)[NB / 2]) {
  struct Brought {
    float (*d)[NB][4];
    const Word (*a)[4];
    const Words* b;
  } mine{d, a, b};
  Block::now->together(&mine, [](void** all) {
    const auto of = [&](int lane) { return static_cast<Brought*>(all[lane]); };
    for (int m = 0; m < MT; ++m) {
      for (int n = 0; n < NB; ++n) {
        const auto b = [&](int lane) {
          const Words& words = of(lane)->b[n / 2];
          return n % 2 ? std::array{words.z, words.w} : std::array{words.x, words.y};
        };
        multiply_block([&](int lane) { return of(lane)->a[m]; }, b, [&](int lane) { return of(lane)->d[m][n]; });
      }
    }
  });
}

}  // namespace hifigan::cuda
