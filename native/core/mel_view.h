// What a generator is fed.
#pragma once

#include "kernels/kernels.h"

namespace hifigan {

// Mel frames as callers have them: mel[band * band_stride + frame].
struct MelView {
  const float* data;
  Index band_stride;
  Index frames;
};

}  // namespace hifigan
