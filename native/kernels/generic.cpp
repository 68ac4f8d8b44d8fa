// The x86-64 baseline, or whatever the processor has: the bodies of its operations, and what they cost. The build passes the flags that it needs.
#include "kernels/vec_generic.h"
#include "kernels/kernels.h"

namespace hifigan {
namespace generic {
namespace {

constexpr Costs kCosts = kFourLaneCosts;
constexpr Caches kCaches = kUsualCaches;
constexpr const Kernels* kNarrower = nullptr;
constexpr int kNarrowerChannels = 0;

}  // namespace
}  // namespace generic
}  // namespace hifigan

#define HIFIGAN_ISA generic
#include "kernels/bodies-inl.h"
