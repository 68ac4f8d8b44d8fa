// The tile unit. The build passes the flags that it needs.
#include <immintrin.h>

#include <cstdint>

#include "kernels/kernels.h"
#include "kernels/tile_amx.h"

#define HIFIGAN_ISA amx
#define HIFIGAN_NAME "amx"
#include "kernels/tile-bodies-inl.h"
