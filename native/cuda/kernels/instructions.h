// The instructions that the kernels are written in, all of compute capability 8.0. native/tests/cuda/emulated_instructions.h has
// the same functions in plain C++, so that the kernels themselves run on a CPU.
#pragma once

namespace hifigan::cuda {

using Word = unsigned int;  // two float16 values, the lower one first
struct Words {
  Word x, y, z, w;  // 8 channels of a row
};

#define HIFIGAN_DEVICE __device__ __forceinline__
#define HIFIGAN_KERNEL(THREADS, BLOCKS, NAME, PARAMETER) \
  extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) NAME(const __grid_constant__ PARAMETER)
#define HIFIGAN_UNROLL _Pragma("unroll")
#define HIFIGAN_NO_UNROLL _Pragma("unroll 1")

HIFIGAN_DEVICE int thread_index() { return static_cast<int>(threadIdx.x); }
HIFIGAN_DEVICE int block_x() { return static_cast<int>(blockIdx.x); }
HIFIGAN_DEVICE int block_y() { return static_cast<int>(blockIdx.y); }

// The block's shared memory, as an address of its own kind.
extern __shared__ __align__(128) char block_memory[];
HIFIGAN_DEVICE Word shared_start() { return static_cast<Word>(__cvta_generic_to_shared(block_memory)); }

HIFIGAN_DEVICE void block_barrier() { __syncthreads(); }
HIFIGAN_DEVICE void warp_barrier() { __syncwarp(); }

// 16 bytes to shared memory, zeros if `inside` is false; they are there behind wait_copies.
HIFIGAN_DEVICE void copy16(Word to, const void* from, bool inside) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(inside ? 16 : 0) : "memory");
}
HIFIGAN_DEVICE void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until at most `LEFT` of the committed groups are under way.
template <int LEFT>
HIFIGAN_DEVICE void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
}

// Four 8x8 blocks of float16; each lane names one row of 16 bytes, which may lie anywhere.
HIFIGAN_DEVICE void load_rows(Word row, Word (&v)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(v[0]), "=r"(v[1]), "=r"(v[2]), "=r"(v[3])
               : "r"(row)
               : "memory");
}
HIFIGAN_DEVICE void store_shared(Word to, Word v) { asm volatile("st.shared.b32 [%0], %1;" ::"r"(to), "r"(v) : "memory"); }
HIFIGAN_DEVICE void store_shared16(Word to, const Words& v) {
  asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
}
HIFIGAN_DEVICE Words load_shared16(Word from) {
  Words v;
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "r"(from) : "memory");
  return v;
}

// Volatile, so that the assembler does not sink them to where they are used.
HIFIGAN_DEVICE Words load16(const void* from) {
  Words v;
  asm volatile("ld.global.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(from) : "memory");
  return v;
}
HIFIGAN_DEVICE Word load4(const void* from) {
  Word v;
  asm volatile("ld.global.u32 %0, [%1];" : "=r"(v) : "l"(from) : "memory");
  return v;
}
HIFIGAN_DEVICE Word load2(const void* from) {
  unsigned short v;
  asm volatile("ld.global.u16 %0, [%1];" : "=h"(v) : "l"(from) : "memory");
  return v;
}
HIFIGAN_DEVICE double load_double(const void* from) {
  double v;
  asm volatile("ld.global.f64 %0, [%1];" : "=d"(v) : "l"(from) : "memory");
  return v;
}
HIFIGAN_DEVICE float of_bits(Word bits) { return __int_as_float(static_cast<int>(bits)); }
HIFIGAN_DEVICE Word bits_of(float v) { return static_cast<Word>(__float_as_int(v)); }
HIFIGAN_DEVICE float load_float(const void* from) { return of_bits(load4(from)); }
HIFIGAN_DEVICE void store4(void* to, Word v) {
  asm volatile("st.global.u32 [%0], %1;" ::"l"(to), "r"(v) : "memory");
}
HIFIGAN_DEVICE void store16(void* to, const Words& v) {
  asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(to), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
}
HIFIGAN_DEVICE void store_float(void* to, float v) { store4(to, bits_of(v)); }

// To at least `v`, which is not negative: such floats have the order of their bits, behind them infinity and what is no number.
HIFIGAN_DEVICE void raise(float* to, float v) { atomicMax(reinterpret_cast<int*>(to), __float_as_int(v) & 0x7fffffff); }

// All products of one step of 16 channels: D[16 rows, 8 columns] += A[16, 16] * B[16, 8] for `MT` A and `NB` B.
template <int MT, int NB>
HIFIGAN_DEVICE void products(float (&d)[MT][NB][4], const Word (&a)[MT][4], const Words (&b)[NB / 2]) {
  HIFIGAN_UNROLL
  for (int m = 0; m < MT; ++m) {
    HIFIGAN_UNROLL
    for (int n = 0; n < NB; ++n) {
      asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                   : "+f"(d[m][n][0]), "+f"(d[m][n][1]), "+f"(d[m][n][2]), "+f"(d[m][n][3])
                   : "r"(a[m][0]), "r"(a[m][1]), "r"(a[m][2]), "r"(a[m][3]), "r"(n % 2 ? b[n / 2].z : b[n / 2].x),
                     "r"(n % 2 ? b[n / 2].w : b[n / 2].y));
    }
  }
}

// Rounded to nearest even.
HIFIGAN_DEVICE Word to_halves(float low, float high) {
  Word v;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(v) : "f"(high), "f"(low));
  return v;
}
HIFIGAN_DEVICE float low_half(Word v) {
  float f;
  asm("{\n.reg .b16 l, h;\nmov.b32 {l, h}, %1;\ncvt.f32.f16 %0, l;\n}" : "=f"(f) : "r"(v));
  return f;
}
HIFIGAN_DEVICE float high_half(Word v) {
  float f;
  asm("{\n.reg .b16 l, h;\nmov.b32 {l, h}, %1;\ncvt.f32.f16 %0, h;\n}" : "=f"(f) : "r"(v));
  return f;
}
HIFIGAN_DEVICE float larger(float a, float b) { return fmaxf(a, b); }
// Not a number if one of them is none.
HIFIGAN_DEVICE float larger_or_none(float a, float b) {
  float v;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(v) : "f"(a), "f"(b));
  return v;
}
HIFIGAN_DEVICE float smaller(float a, float b) { return fminf(a, b); }
HIFIGAN_DEVICE float magnitude(float a) { return fabsf(a); }
HIFIGAN_DEVICE float multiply_add(float a, float b, float c) { return fmaf(a, b, c); }
HIFIGAN_DEVICE float hyperbolic_tangent(float a) { return tanhf(a); }

}  // namespace hifigan::cuda
