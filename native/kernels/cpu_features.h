// What this processor, and this system, can run.
#pragma once

#include <string>
#include <vector>

namespace hifigan {

// Names of the instruction sets that this processor, its operating system and this build support, slowest first; each has
// kernels for float32 (kernels.h: find_kernels).
std::vector<std::string> supported_isas();

// Why there is no tile unit, or the system does not give it to this process; empty if there is one and it does. Asks the system
// for it with `request`: the permission is the whole process's and its children's, and after it the system refuses signal stacks
// that are too small for the tiles.
std::string why_no_tile_unit(bool request);

}  // namespace hifigan
