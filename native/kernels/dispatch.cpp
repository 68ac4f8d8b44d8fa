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
}
#endif
#ifdef HIFIGAN_HAVE_NEON
namespace neon {
extern const Kernels kKernels;
}
#endif

const Kernels* find_kernels(const char* name) {
  const Kernels* const all[] = {
      &generic::kKernels,
#ifdef HIFIGAN_HAVE_AVX2
      &avx2::kKernels,
#endif
#ifdef HIFIGAN_HAVE_AVX512
      &avx512::kKernels,
#endif
#ifdef HIFIGAN_HAVE_NEON
      &neon::kKernels,
#endif
  };
  for (const Kernels* kernels : all) {
    if (std::strcmp(kernels->name, name) == 0) return kernels;
  }
  return nullptr;
}

}  // namespace hifigan
