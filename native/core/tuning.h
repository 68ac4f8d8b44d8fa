// The ways through the caches that the engine knows, and what each takes on this machine.
#pragma once

#include <string>
#include <vector>

#include "core/aligned_buffer.h"
#include "kernels/kernels.h"

namespace hifigan {

// Bytes of the second cache of one core: what the system says (sysfs), else what the processor says (CPUID), else 1 MB. Never
// of the last cache, for which a virtual machine tells its host's.
Index second_cache_bytes();

// The bundles. The first is used where nothing was measured: it was never much slower than the best on any machine tried.
const std::vector<Tuning>& tunings();

// Throws std::invalid_argument for a name that no bundle has.
const Tuning& tuning_named(const std::string& name);

// What a block of any bundle takes at most.
Index most_block_bytes();

// Processor time of one layer by each bundle, and by direct convolution in the first place.
struct Calibration {
  std::vector<std::vector<double>> seconds;  // [round][bundle], then direct convolution behind the last bundle
};

// Computes a layer of 128 channels, 7 taps, with weights of 18 such layers in turn so that no cache holds them: all bundles
// in each round, in rounds until `budget` seconds are over, at least 3. `lent` buffers serve as weights, whatever they hold, and
// are only read; those that lack are allocated (39 MB where none are lent). Throws std::bad_alloc.
Calibration calibrate(const Kernels& kernels, double budget, const std::vector<const AlignedBuffer*>& lent = {});

}  // namespace hifigan
