// AVX2 and FMA: the bodies of its operations, and what they cost. The build passes the flags that it needs.
#include "kernels/vec_avx2.h"
#include "kernels/kernels.h"

namespace hifigan {
namespace avx2 {
namespace {

constexpr Costs kCosts = {59e3, {1.02, 1.10, 1.05, 1.22}, {0.55, 0.45, 0.45, 0.60}};
constexpr Caches kCaches = kUsualCaches;
constexpr const Kernels* kNarrower = nullptr;
constexpr int kNarrowerChannels = 0;

}  // namespace
}  // namespace avx2
}  // namespace hifigan

#define HIFIGAN_ISA avx2
#include "kernels/bodies-inl.h"
