// The kernels of engine `cuda`, by the names that the plan has for them (src/hifigan_rt/engines/cuda_plan.py).
#ifdef HIFIGAN_EMULATED
#include "emulated_hopper.h"
#else
#include "cuda/launch.h"
#include "cuda/kernels/instructions.h"
#endif
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#include "cuda/kernels/hopper_instructions.h"
#endif

#include "cuda/kernels/tile.h"

#include "cuda/kernels/products.h"
#include "cuda/kernels/results.h"

#include "cuda/kernels/convolution.h"
#include "cuda/kernels/ends.h"

// convolution_INOUT_kKS_nCOLUMNS: planes of what is read and written, steps of 16 channels in a group, columns of a block.
#define CONVOLUTION_BY(SET, PRODUCTS, IN, OUT, KS, COLUMNS, MT, NB, WT, WC, BLOCKS)                        \
  HIFIGAN_KERNEL((hifigan::cuda::Shape<MT, NB, WT, WC>::kThreads), BLOCKS,                                 \
                 SET##convolution_##IN##OUT##_k##KS##_n##COLUMNS, hifigan::cuda::Launch launch) {          \
    static_assert(hifigan::cuda::Shape<MT, NB, WT, WC>::kColumns == COLUMNS, "the name says the columns"); \
    hifigan::cuda::convolution<hifigan::cuda::PRODUCTS, IN, OUT, KS, MT, NB, WT, WC>(launch);              \
  }
#define CONVOLUTION(...) CONVOLUTION_BY(, Products, __VA_ARGS__)
CONVOLUTION(1, 1, 4, 128, 4, 8, 2, 2, 2)
CONVOLUTION(1, 1, 4, 64, 4, 8, 4, 1, 2)
CONVOLUTION(1, 1, 4, 32, 4, 4, 4, 1, 2)
CONVOLUTION(1, 1, 2, 32, 4, 4, 4, 1, 2)
CONVOLUTION(1, 1, 1, 32, 4, 4, 4, 1, 2)
CONVOLUTION(1, 1, 1, 16, 4, 2, 4, 1, 2)
CONVOLUTION(2, 2, 4, 128, 2, 8, 4, 2, 1)
CONVOLUTION(2, 2, 4, 64, 2, 8, 4, 1, 2)
CONVOLUTION(2, 2, 4, 32, 2, 4, 4, 1, 2)
CONVOLUTION(2, 2, 2, 32, 2, 4, 4, 1, 2)
CONVOLUTION(2, 2, 1, 32, 2, 4, 4, 1, 2)
CONVOLUTION(2, 2, 1, 16, 2, 2, 4, 1, 2)
// The first upsampling of float16 reads two planes, few channels like many.
CONVOLUTION(2, 1, 4, 128, 2, 8, 4, 2, 1)
CONVOLUTION(2, 1, 4, 32, 2, 4, 4, 1, 2)

// unit_PLANES_cCHANNELS
#define UNIT_BY(SET, PRODUCTS, PLANES, C, KS, MT, NB, WT, WC, BLOCKS)                                  \
  HIFIGAN_KERNEL((hifigan::cuda::Shape<MT, NB, WT, WC>::kThreads), BLOCKS, SET##unit_##PLANES##_c##C,  \
                 hifigan::cuda::Launch launch) {                                                       \
    hifigan::cuda::unit<hifigan::cuda::PRODUCTS, PLANES, C, KS, MT, NB, WT, WC>(launch);               \
  }
#define UNIT(...) UNIT_BY(, Products, __VA_ARGS__)
UNIT(1, 128, 4, 4, 8, 2, 2, 2)
UNIT(1, 64, 4, 4, 8, 4, 1, 2)
UNIT(1, 32, 2, 6, 4, 4, 1, 3)
UNIT(1, 16, 1, 6, 2, 4, 1, 3)
UNIT(2, 128, 4, 2, 8, 4, 2, 1)
UNIT(2, 64, 4, 2, 8, 4, 1, 2)
UNIT(2, 32, 2, 4, 4, 4, 1, 2)
UNIT(2, 16, 1, 4, 2, 4, 1, 2)

// The same by Hopper's own instructions, for the layers that take most of a network's time: all names begin with hopper_.
#if defined(HIFIGAN_EMULATED) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#include "cuda/kernels/hopper.h"

CONVOLUTION_BY(hopper_, HopperProducts, 1, 1, 4, 128, 8, 2, 1, 8, 2)
CONVOLUTION_BY(hopper_, HopperProducts, 1, 1, 4, 64, 16, 2, 1, 4, 2)
CONVOLUTION_BY(hopper_, HopperProducts, 2, 2, 4, 128, 8, 2, 1, 8, 1)
CONVOLUTION_BY(hopper_, HopperProducts, 2, 2, 4, 64, 8, 2, 1, 4, 2)
CONVOLUTION_BY(hopper_, HopperProducts, 2, 1, 4, 128, 8, 2, 1, 8, 1)
UNIT_BY(hopper_, HopperProducts, 1, 128, 4, 8, 2, 1, 8, 2)
UNIT_BY(hopper_, HopperProducts, 1, 64, 4, 16, 2, 1, 4, 2)
UNIT_BY(hopper_, HopperProducts, 2, 128, 4, 8, 2, 1, 8, 1)
UNIT_BY(hopper_, HopperProducts, 2, 64, 4, 8, 2, 1, 4, 2)
#endif

HIFIGAN_KERNEL(hifigan::cuda::kEntryThreads, 1, enter, hifigan::cuda::Entry entry) { hifigan::cuda::enter(entry); }
HIFIGAN_KERNEL(hifigan::cuda::kExitRows, 1, leave, hifigan::cuda::Exit exit) { hifigan::cuda::leave(exit); }
HIFIGAN_KERNEL(hifigan::cuda::kCarryThreads, 1, carry, hifigan::cuda::Carry carried) { hifigan::cuda::carry(carried); }
