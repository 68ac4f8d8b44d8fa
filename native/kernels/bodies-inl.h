// The bodies of every operation for one instruction set, made from its Vec, and the table of them. Included once in the file of
// the instruction set, with HIFIGAN_ISA its name as a word.

namespace hifigan {
namespace HIFIGAN_ISA {
namespace {
#include "kernels/ceiling-inl.h"
#include "kernels/epilogue-inl.h"
#include "kernels/exponential-inl.h"
#include "kernels/fft-inl.h"
#include "kernels/gate-inl.h"
#include "kernels/micro-kernels-inl.h"
#include "kernels/product-inl.h"
#include "kernels/post-inl.h"
#include "kernels/fetch-inl.h"
#include "kernels/rows-inl.h"
#include "kernels/spectral-inl.h"
}  // namespace
#include "kernels/table-inl.h"
}  // namespace HIFIGAN_ISA
}  // namespace hifigan
