// What instruction sets this processor and its operating system can run.
#pragma once

#include <string>
#include <vector>

namespace hifigan {

// Names as HIFIGAN_RT_ISA takes them, slowest first: "generic", then on x86-64 "avx2" (AVX2 and FMA) and
// "avx512" (F, BW, DQ, VL), on arm64 "neon". "generic" is always there.
std::vector<std::string> supported_isas();

}  // namespace hifigan
