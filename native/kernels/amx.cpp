// The tile unit. The build passes the flags that it needs.
#include <immintrin.h>

#include <cstdint>

#include "kernels/kernels.h"
#include "kernels/tile_amx.h"

// What is done with a row of a unit: between two products, where it costs nothing.
#define HIFIGAN_UNIT_ROW HIFIGAN_INLINE
#define HIFIGAN_ISA amx
#define HIFIGAN_NAME "amx"
#include "kernels/tile-bodies-inl.h"
