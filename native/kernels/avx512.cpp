// AVX-512: the bodies of its operations, and what they cost. The build passes the flags that it needs.
#include "kernels/vec_avx512.h"
#include "kernels/kernels.h"

namespace hifigan {

namespace avx2 {
extern const Kernels kKernels;
}

namespace avx512 {
namespace {

constexpr Costs kCosts = {108e3, {1.00, 1.05, 1.08, 1.15}, {0.42, 0.30, 0.42, 1.00}};
constexpr Caches kCaches = kUsualCaches;
constexpr const Kernels* kNarrower = &avx2::kKernels;
constexpr int kNarrowerChannels = 8;

}  // namespace
}  // namespace avx512
}  // namespace hifigan

#define HIFIGAN_ISA avx512
#include "kernels/bodies-inl.h"
