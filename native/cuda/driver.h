// The driver of NVIDIA's cards, opened at run time: nothing of it is needed to build this package or to use it without a card.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace hifigan::cuda {

// The card or its driver is not there or not usable; the text says why and what helps.
struct Unavailable : std::runtime_error {
  using std::runtime_error::runtime_error;
};
// A call failed; the card may be lost.
struct DriverError : std::runtime_error {
  DriverError(const std::string& text, int error_code) : std::runtime_error(text), code(error_code) {}
  int code;
};
// The card has no memory left.
struct OutOfMemory : DriverError {
  using DriverError::DriverError;
};

// Names and types of cuda.h of CUDA 12, which are the driver's stable interface.
using Result = int;
using DeviceHandle = int;
using ContextHandle = struct ContextOfDriver*;
using ModuleHandle = struct ModuleOfDriver*;
using FunctionHandle = struct FunctionOfDriver*;
using StreamHandle = struct StreamOfDriver*;
using EventHandle = struct EventOfDriver*;
using DevicePointer = unsigned long long;

enum : Result { kSuccess = 0, kOutOfMemory = 2, kNotInitialized = 3, kNoDevice = 100, kInvalidImage = 200, kUnsupportedCode = 222, kDeviceUnavailable = 46 };
enum Attribute : int { kMajor = 75, kMinor = 76, kMultiprocessors = 16, kComputeMode = 20, kSharedPerBlock = 97 };

enum PointerAttribute : int { kOrdinalOfDevice = 9 };

// Each function with the name under which the library exports it.
#define HIFIGAN_DRIVER_FUNCTIONS(F)                                                                                         \
  F(cuInit, (unsigned))                                                                                                     \
  F(cuDriverGetVersion, (int*))                                                                                             \
  F(cuDeviceGetCount, (int*))                                                                                               \
  F(cuDeviceGet, (DeviceHandle*, int))                                                                                      \
  F(cuDeviceGetName, (char*, int, DeviceHandle))                                                                            \
  F(cuDeviceGetAttribute, (int*, Attribute, DeviceHandle))                                                                  \
  F(cuDevicePrimaryCtxRetain, (ContextHandle*, DeviceHandle))                                                               \
  F(cuDevicePrimaryCtxRelease_v2, (DeviceHandle))                                                                           \
  F(cuCtxPushCurrent_v2, (ContextHandle))                                                                                   \
  F(cuCtxPopCurrent_v2, (ContextHandle*))                                                                                   \
  F(cuModuleLoadData, (ModuleHandle*, const void*))                                                                         \
  F(cuModuleUnload, (ModuleHandle))                                                                                         \
  F(cuModuleGetFunction, (FunctionHandle*, ModuleHandle, const char*))                                                      \
  F(cuFuncSetAttribute, (FunctionHandle, int, int))                                                                         \
  F(cuMemGetInfo_v2, (std::size_t*, std::size_t*))                                                                          \
  F(cuMemAlloc_v2, (DevicePointer*, std::size_t))                                                                           \
  F(cuMemFree_v2, (DevicePointer))                                                                                          \
  F(cuMemAllocHost_v2, (void**, std::size_t))                                                                               \
  F(cuMemFreeHost, (void*))                                                                                                 \
  F(cuMemcpyHtoDAsync_v2, (DevicePointer, const void*, std::size_t, StreamHandle))                                          \
  F(cuMemcpyDtoHAsync_v2, (void*, DevicePointer, std::size_t, StreamHandle))                                                \
  F(cuMemcpyDtoDAsync_v2, (DevicePointer, DevicePointer, std::size_t, StreamHandle))                                        \
  F(cuPointerGetAttribute, (void*, PointerAttribute, DevicePointer))                                                        \
  F(cuMemsetD8Async, (DevicePointer, unsigned char, std::size_t, StreamHandle))                                             \
  F(cuStreamCreate, (StreamHandle*, unsigned))                                                                              \
  F(cuStreamDestroy_v2, (StreamHandle))                                                                                     \
  F(cuStreamSynchronize, (StreamHandle))                                                                                    \
  F(cuStreamWaitEvent, (StreamHandle, EventHandle, unsigned))                                                               \
  F(cuEventCreate, (EventHandle*, unsigned))                                                                                \
  F(cuEventDestroy_v2, (EventHandle))                                                                                       \
  F(cuEventRecord, (EventHandle, StreamHandle))                                                                             \
  F(cuEventSynchronize, (EventHandle))                                                                                      \
  F(cuEventElapsedTime, (float*, EventHandle, EventHandle))                                                                 \
  F(cuLaunchKernel, (FunctionHandle, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, StreamHandle, void**, void**)) \
  F(cuGetErrorName, (Result, const char**))                                                                                 \
  F(cuGetErrorString, (Result, const char**))

struct Driver {
#define HIFIGAN_MEMBER(NAME, PARAMETERS) Result(*NAME) PARAMETERS = nullptr;
  HIFIGAN_DRIVER_FUNCTIONS(HIFIGAN_MEMBER)
#undef HIFIGAN_MEMBER
  int version = 0;  // 12090 for CUDA 12.9
  long process = 0;  // whose it is: a forked one can never use it

  bool is_of_this_process() const;
  // Throws DriverError or OutOfMemory unless a call succeeded.
  void check(Result result, const char* what) const;
};

// What is said in a forked process.
inline constexpr const char* kForked =
    "this process was forked from one that had started NVIDIA's driver, and cannot use it: start it with multiprocessing's method 'spawn', "
    "or load models only after the fork";

// The driver of this process, opened once; `path` names the library, empty for the system's. Throws Unavailable, also in a forked process.
const Driver& open_driver(const std::string& path);

}  // namespace hifigan::cuda
