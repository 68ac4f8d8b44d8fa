#include "kernels/cpu_features.h"

namespace hifigan {

std::vector<std::string> supported_isas() {
  std::vector<std::string> names{"generic"};
#if defined(__x86_64__)
  // The builtin also asks the operating system whether it saves the wide registers.
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    names.emplace_back("avx2");
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
      names.emplace_back("avx512");
    }
  }
#elif defined(__aarch64__)
  names.emplace_back("neon");
#endif
  return names;
}

}  // namespace hifigan
