// The tables of a tile unit, made from its Vec, lines and Tiles. Included once in its file, with HIFIGAN_ISA its name as a word
// and HIFIGAN_NAME its name as a text.

#include <algorithm>
#include <type_traits>

namespace hifigan {
namespace HIFIGAN_ISA {
namespace {
constexpr int round_up_to_lanes(int count) { return (count + kLanes - 1) / kLanes * kLanes; }

// Multiply-adds of one core of an Emerald Rapids, and blocks that its second cache holds (native/NOTES.md).
constexpr Costs costs_of(int products) { return {1000e3 / products, {}, {}}; }
constexpr Caches kTileCaches{0.75e6, 32e6, 16e3, 100e3};
constexpr Pieces kTilePieces{32, 64, 512};

#include "kernels/exponential-inl.h"
#include "kernels/gate-inl.h"
#include "kernels/post-inl.h"
#include "kernels/tiles-inl.h"
#include "kernels/tile-kernels-inl.h"

constexpr Kernels kFinest = TileKernels<3>::table(HIFIGAN_NAME, costs_of(6), nullptr);
constexpr Kernels kFine = TileKernels<2>::table(HIFIGAN_NAME, costs_of(3), nullptr);
}  // namespace

// Each with one slice more in the first layers, which take 1 % of the products: their rounding costs as much as that of all
// others together.
extern const Kernels kBfloat16, kBfloat16x3;
const Kernels kBfloat16 = TileKernels<1>::table(HIFIGAN_NAME, costs_of(1), &kFine);
const Kernels kBfloat16x3 = TileKernels<2>::table(HIFIGAN_NAME, costs_of(3), &kFinest);
}  // namespace HIFIGAN_ISA
}  // namespace hifigan
