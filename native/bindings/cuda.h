#pragma once

#include <nanobind/nanobind.h>

namespace hifigan {

// Adds what engine `cuda` needs to the module.
void bind_cuda(nanobind::module_& m);

}  // namespace hifigan
