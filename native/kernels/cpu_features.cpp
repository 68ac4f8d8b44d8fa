#include "kernels/cpu_features.h"

#if defined(__x86_64__)
#include <cpuid.h>

#include <cstdint>
#endif
#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#endif

namespace hifigan {

#if defined(__x86_64__)

namespace {

// Bits of CPUID leaf 1 (ECX) and leaf 7 (EBX): Intel's manual, volume 2, table 3-8 and CPUID.07H.
constexpr unsigned kFma = 1u << 12, kSavesState = 1u << 27, kAvx = 1u << 28;
constexpr unsigned kAvx2 = 1u << 5, kAvx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;  // F, DQ, BW, VL

// Bits of XCR0: the registers that the operating system saves. SSE and AVX; mask registers and the two parts of AVX-512.
constexpr std::uint64_t kWide = 0x6, kWidest = kWide | 0xe0;

// Leaf 7 (EDX): AMX-BF16 and AMX-TILE. XCR0: the tiles' configuration and data. arch_prctl: which states the kernel has, and the
// request for one of them (Documentation/arch/x86/xstate.rst).
constexpr unsigned kTiles = 1u << 22 | 1u << 24;
constexpr std::uint64_t kTileState = 0x60000;
#if defined(__linux__)
constexpr int kSupportedStates = 0x1021, kRequestState = 0x1023, kTileData = 18;
#endif

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
  if (!has(saved, kWidest) || !has(b, kAvx512)) return names;
  names.emplace_back("avx512");
#if defined(HIFIGAN_HAVE_AMX)
  if (why_no_tile_unit(false).empty()) names.emplace_back("amx");
#endif
  return names;
}

std::string why_no_tile_unit(bool request) {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !has(d, kTiles)) {
    return "this processor has none, or its hypervisor hides it (CPUID tells no AMX-BF16)";
  }
  if (!__get_cpuid(1, &a, &b, &c, &d) || !has(c, kSavesState) || !has(saved_registers(), kWidest | kTileState)) {
    return "the operating system does not save its registers (XCR0)";
  }
#if defined(__linux__)
  unsigned long states = 0;
  if (syscall(SYS_arch_prctl, kSupportedStates, &states) != 0 || !has(states, std::uint64_t{1} << kTileData)) {
    return "the kernel does not hand it out: Linux 5.16 or newer does, where no seccomp filter of a container forbids arch_prctl";
  }
  if (request && syscall(SYS_arch_prctl, kRequestState, kTileData) != 0) {
    const int error = errno;
    const std::string text = std::string("the kernel refuses it to this process (") + std::strerror(error) + ")";
    return error == ENOSPC ? text + ": a thread has a signal stack smaller than AT_MINSIGSTKSZ" : text;
  }
  return "";
#else
  static_cast<void>(request);
  return "it is used on Linux alone";
#endif
}

#else

std::vector<std::string> supported_isas() {
#if defined(__aarch64__)
  return {"generic", "neon"};
#else
  return {"generic"};
#endif
}

std::string why_no_tile_unit(bool) { return "only x86-64 has it"; }

#endif

}  // namespace hifigan
