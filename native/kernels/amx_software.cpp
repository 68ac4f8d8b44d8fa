// The tile unit in plain C++.
#include "kernels/kernels.h"
#include "kernels/tile_software.h"

#define HIFIGAN_UNIT_ROW HIFIGAN_ONCE
#define HIFIGAN_ISA amx_software
#define HIFIGAN_NAME "amx-software"
#include "kernels/tile-bodies-inl.h"
