// The bodies of every operation for one instruction set; the build passes the flags that it needs.
#include "kernels/vec_avx2.h"
#include "kernels/kernels.h"

#define HIFIGAN_ISA_NAME "avx2"

namespace hifigan {
namespace avx2 {
namespace {
#include "kernels/ceiling-inl.h"
#include "kernels/epilogue-inl.h"
#include "kernels/fft-inl.h"
#include "kernels/product-inl.h"
#include "kernels/post-inl.h"
#include "kernels/rows-inl.h"
#include "kernels/spectral-inl.h"
#include "kernels/table-inl.h"
}  // namespace

const Kernels& kernels() { return kTable; }

}  // namespace avx2
}  // namespace hifigan
