// NEON: the bodies of its operations, and what they cost. The build passes the flags that it needs.
#include "kernels/vec_neon.h"
#include "kernels/kernels.h"

namespace hifigan {
namespace neon {
namespace {

constexpr Costs kCosts = kFourLaneCosts;
constexpr Caches kCaches = kUsualCaches;
constexpr const Kernels* kNarrower = nullptr;
constexpr int kNarrowerChannels = 0;

}  // namespace
}  // namespace neon
}  // namespace hifigan

#define HIFIGAN_ISA neon
#include "kernels/bodies-inl.h"
