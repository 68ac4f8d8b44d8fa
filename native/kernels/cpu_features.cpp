#include "kernels/cpu_features.h"

#if defined(__x86_64__)
#include <cpuid.h>

#include <cstdint>
#endif

namespace hifigan {

#if defined(__x86_64__)

namespace {

// Bits of CPUID leaf 1 (ECX) and leaf 7 (EBX): Intel's manual, volume 2, table 3-8 and CPUID.07H.
constexpr unsigned kFma = 1u << 12, kSavesState = 1u << 27, kAvx = 1u << 28;
constexpr unsigned kAvx2 = 1u << 5, kAvx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;  // F, DQ, BW, VL

// Bits of XCR0: the registers that the operating system saves. SSE and AVX; mask registers and the two parts of AVX-512.
constexpr std::uint64_t kWide = 0x6, kWidest = kWide | 0xe0;

std::uint64_t saved_registers() {
  std::uint32_t low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return std::uint64_t{high} << 32 | low;
}

bool has(std::uint64_t bits, std::uint64_t wanted) { return (bits & wanted) == wanted; }

}  // namespace

// The compilers' own question, __builtin_cpu_supports, needs a part of their run-time library that clang-cl and zig do not link.
std::vector<std::string> supported_isas() {
  std::vector<std::string> names{"generic"};
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !has(c, kFma | kSavesState | kAvx)) return names;
  const std::uint64_t saved = saved_registers();
  if (!has(saved, kWide) || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !has(b, kAvx2)) return names;
  names.emplace_back("avx2");
  if (has(saved, kWidest) && has(b, kAvx512)) names.emplace_back("avx512");
  return names;
}

#else

std::vector<std::string> supported_isas() {
#if defined(__aarch64__)
  return {"generic", "neon"};
#else
  return {"generic"};
#endif
}

#endif

}  // namespace hifigan
