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

namespace hifigan {
namespace avx512 {
namespace {
#include "kernels/narrow-inl.h"

// Of direct convolutions by the narrower bodies, and of 16 tiles in the lanes (native/NOTES.md).
constexpr Pieces kNarrowPieces{kLanes, 48, 12};
constexpr Costs kNarrowCosts = {42e3, {1.17, 1.15, 1.33, 1.70}, {}};

}  // namespace

extern const NarrowLayers kNarrowLayers;
const NarrowLayers kNarrowLayers = {kNarrowPieces, kNarrowCosts, narrow_tiled_scratch_size, conv_narrow_tiled};

}  // namespace avx512
}  // namespace hifigan
