#include <cstring>

#include "kernels/kernels.h"

// The build defines HIFIGAN_HAVE_<ISA> for every file of bodies that it compiles.
namespace hifigan {

namespace generic {
const Kernels& kernels();
}
#ifdef HIFIGAN_HAVE_AVX2
namespace avx2 {
const Kernels& kernels();
}
#endif
#ifdef HIFIGAN_HAVE_AVX512
namespace avx512 {
const Kernels& kernels();
}
#endif
#ifdef HIFIGAN_HAVE_NEON
namespace neon {
const Kernels& kernels();
}
#endif

const Kernels* find_kernels(const char* name) {
  const Kernels* const all[] = {
      &generic::kernels(),
#ifdef HIFIGAN_HAVE_AVX2
      &avx2::kernels(),
#endif
#ifdef HIFIGAN_HAVE_AVX512
      &avx512::kernels(),
#endif
#ifdef HIFIGAN_HAVE_NEON
      &neon::kernels(),
#endif
  };
  for (const Kernels* kernels : all) {
    if (std::strcmp(kernels->name, name) == 0) return kernels;
  }
  return nullptr;
}

}  // namespace hifigan
