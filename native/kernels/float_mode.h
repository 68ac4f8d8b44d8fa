// Flush-to-zero: without it a quiet passage, whose values decay below 1e-38, costs ten times the time.
#pragma once

#include <cstdint>

namespace hifigan {

// Sets flush-to-zero and denormals-are-zero for the calling thread, or takes both back, and restores what was there.
class FlushDenormals {
 public:
  explicit FlushDenormals(bool flush = true) : saved_(read()) { write(flush ? saved_ | kFlush : saved_ & ~kFlush); }
  ~FlushDenormals() { write(saved_); }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
#if defined(__x86_64__)
  using Word = unsigned;
  static constexpr Word kFlush = 0x8040;  // MXCSR: FTZ is bit 15, DAZ bit 6
  static Word read() { return __builtin_ia32_stmxcsr(); }
  static void write(Word word) { __builtin_ia32_ldmxcsr(word); }
#elif defined(__aarch64__)
  using Word = std::uint64_t;
  static constexpr Word kFlush = Word{1} << 24;  // FPCR.FZ
  static Word read() {
    Word word;
    asm volatile("mrs %0, fpcr" : "=r"(word));
    return word;
  }
  static void write(Word word) { asm volatile("msr fpcr, %0" : : "r"(word)); }
#else
  using Word = unsigned;
  static constexpr Word kFlush = 0;
  static Word read() { return 0; }
  static void write(Word) {}
#endif
  Word saved_;
};

}  // namespace hifigan
