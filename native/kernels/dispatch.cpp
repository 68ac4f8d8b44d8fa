#include <cstring>

#include "kernels/kernels.h"

// The build defines HIFIGAN_HAVE_<ISA> for every file of bodies that it compiles.
namespace hifigan {

namespace generic {
extern const Kernels kKernels;
}
#ifdef HIFIGAN_HAVE_AVX2
namespace avx2 {
extern const Kernels kKernels;
}
#endif
#ifdef HIFIGAN_HAVE_AVX512
namespace avx512 {
extern const Kernels kKernels;
extern const NarrowLayers kNarrowLayers;
}
#endif
#ifdef HIFIGAN_HAVE_NEON
namespace neon {
extern const Kernels kKernels;
}
#endif
#ifdef HIFIGAN_HAVE_AMX
namespace amx {
extern const Kernels kBfloat16, kBfloat16x3;
}
#endif
namespace amx_software {
extern const Kernels kBfloat16, kBfloat16x3;
}

namespace {

struct Entry {
  const Kernels* kernels;
  const char* precision;
};

#ifdef HIFIGAN_HAVE_AVX512
// Tables that are put together here are so by code that every processor can run.
const Kernels& float32_of_avx512() {
  static const Kernels narrower = [] {
    Kernels copy = *avx512::kKernels.narrower;
    const NarrowLayers& better = avx512::kNarrowLayers;
    copy.pieces = better.pieces;
    copy.costs = better.costs;
    copy.tiled_scratch_size = better.tiled_scratch_size;
    copy.conv_tiled = better.conv_tiled;
    return copy;
  }();
  static const Kernels kernels = [] {
    Kernels copy = avx512::kKernels;
    copy.narrower = &narrower;
    return copy;
  }();
  return kernels;
}
#endif

#ifdef HIFIGAN_HAVE_AMX
// float32 has no use for tiles.
const Kernels& float32_of_amx() {
  static const Kernels kernels = [] {
    Kernels copy = float32_of_avx512();
    copy.name = "amx";
    return copy;
  }();
  return kernels;
}
#endif

}  // namespace

const Kernels* find_kernels(const char* name, const char* precision) {
  const Entry all[] = {
      {&generic::kKernels, "float32"},
#ifdef HIFIGAN_HAVE_AVX2
      {&avx2::kKernels, "float32"},
#endif
#ifdef HIFIGAN_HAVE_AVX512
      {&float32_of_avx512(), "float32"},
#endif
#ifdef HIFIGAN_HAVE_NEON
      {&neon::kKernels, "float32"},
#endif
#ifdef HIFIGAN_HAVE_AMX
      {&float32_of_amx(), "float32"},
      {&amx::kBfloat16, "bfloat16"},
      {&amx::kBfloat16x3, "bfloat16x3"},
#endif
      {&amx_software::kBfloat16, "bfloat16"},
      {&amx_software::kBfloat16x3, "bfloat16x3"},
  };
  for (const Entry& entry : all) {
    if (std::strcmp(entry.kernels->name, name) == 0 && std::strcmp(entry.precision, precision) == 0) return entry.kernels;
  }
  return nullptr;
}

}  // namespace hifigan
