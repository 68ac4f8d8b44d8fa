// The instructions of compute capability 9.0 alone that hopper.h is written in (PTX ISA, "Asynchronous Warpgroup Level Matrix
// Instructions"); native/tests/cuda/emulated_hopper.h has the same functions in plain C++.
#pragma once

namespace hifigan::cuda {

// A matrix in shared memory as the instruction is told of it: blocks of 8 rows of 16 bytes, 128 bytes from one to the next; `rows` * 16
// bytes between the chunks of 8 channels. It may begin at any row.
using Matrix = unsigned long long;
HIFIGAN_DEVICE Matrix matrix(Word start, int rows) {
  return static_cast<Matrix>(start / 16 | static_cast<Word>(rows) << 16) | static_cast<Matrix>(128 / 16) << 32;
}

// What this thread has written to shared memory becomes visible to products behind the next barrier.
HIFIGAN_DEVICE void show_to_products() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
// Before products that read registers which were written since the last ones began.
HIFIGAN_DEVICE void start_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
HIFIGAN_DEVICE void commit_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Waits until at most `LEFT` of the committed groups are under way; till then their registers and rows must be left alone.
template <int LEFT>
HIFIGAN_DEVICE void wait_products() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(LEFT) : "memory");
}

#define HIFIGAN_SUMS_OF(m)                                                                                                   \
  "+f"(d[m][0][0]), "+f"(d[m][0][1]), "+f"(d[m][1][0]), "+f"(d[m][1][1]), "+f"(d[m][0][2]), "+f"(d[m][0][3]), "+f"(d[m][1][2]), \
      "+f"(d[m][1][3])
#define HIFIGAN_SUMS_OF_4(m) HIFIGAN_SUMS_OF(m), HIFIGAN_SUMS_OF(m + 1), HIFIGAN_SUMS_OF(m + 2), HIFIGAN_SUMS_OF(m + 3)
#define HIFIGAN_SUMS_OF_8 HIFIGAN_SUMS_OF_4(0), HIFIGAN_SUMS_OF_4(4)
#define HIFIGAN_SUMS_OF_16 HIFIGAN_SUMS_OF_8, HIFIGAN_SUMS_OF_4(8), HIFIGAN_SUMS_OF_4(12)
#define HIFIGAN_NAMES_OF_64                                                                                                       \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, " \
  "%27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, " \
  "%52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define HIFIGAN_NAMES_OF_128                                                                                                          \
  HIFIGAN_NAMES_OF_64                                                                                                                 \
  ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, " \
  "%90, %91, %92, %93, %94, %95, %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, %112, "  \
  "%113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"

// D[64 columns, MT * 16 positions] += A[64, 16] * B[16, MT * 16] of four warps, begun; KEEP: or without what was there. A warp's 16
// columns of A are in the order of Weights, so that the middle two words change places.
template <bool KEEP, int MT>
HIFIGAN_DEVICE void begin_product(float (&d)[MT][2][4], const Words& a, Matrix b) {
  static_assert(MT == 8 || MT == 16, "widths that are written out");
  if constexpr (MT == 8) {
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %69, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 {" HIFIGAN_NAMES_OF_64 "}, {%64, %65, %66, %67}, %68, p, 1, 1, 0;\n}"
                 : HIFIGAN_SUMS_OF_8
                 : "r"(a.x), "r"(a.z), "r"(a.y), "r"(a.w), "l"(b), "n"(KEEP));
  } else {
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %133, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n256k16.f32.f16.f16 {" HIFIGAN_NAMES_OF_128 "}, {%128, %129, %130, %131}, %132, p, 1, 1, 0;\n}"
                 : HIFIGAN_SUMS_OF_16
                 : "r"(a.x), "r"(a.z), "r"(a.y), "r"(a.w), "l"(b), "n"(KEEP));
  }
}

// The compiler takes sums for ready when their products have begun: here they are new to it, behind the wait for them.
template <int MT>
HIFIGAN_DEVICE void settle(float (&d)[MT][2][4]) {
  HIFIGAN_UNROLL
  for (int m = 0; m < MT; ++m) asm volatile("" : HIFIGAN_SUMS_OF(m)::"memory");
}

// Turns a block of 8 x 8 numbers of a warp: a lane has two neighbours of row lane / 4, and gets those of column lane / 4. The
// instruction turns halves.
HIFIGAN_DEVICE Word turned(Word halves) {
  Word v;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(v) : "r"(halves));
  return v;
}
HIFIGAN_DEVICE void turn(float& first, float& second) {
  constexpr Word kLower = 0x5410, kUpper = 0x7632;
  const Word low = turned(__byte_perm(bits_of(first), bits_of(second), kLower)), high = turned(__byte_perm(bits_of(first), bits_of(second), kUpper));
  first = of_bits(__byte_perm(low, high, kLower)), second = of_bits(__byte_perm(low, high, kUpper));
}

}  // namespace hifigan::cuda
