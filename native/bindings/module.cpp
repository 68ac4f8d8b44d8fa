// The door between Python and the C++ core: argument types and error translation, no arithmetic.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "kernels/cpu_features.h"

namespace nb = nanobind;

NB_MODULE(_native, m) {
  m.doc() = "The C++ core of hifigan-rt; use it through the package's public names.";
  m.def("supported_isas", &hifigan::supported_isas,
        "Instruction sets that this processor can run, slowest first: 'generic', 'avx2', 'avx512', 'neon'.");
}
