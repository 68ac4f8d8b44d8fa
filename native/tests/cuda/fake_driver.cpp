// A library with the functions of NVIDIA's driver that computes on the CPU: with it, engine `cuda` runs in the tests as it is, its
// kernels included. Work of a stream is done when somebody waits for it, with memory as it is then. What goes wrong on real cards
// goes wrong here on demand: fake_cuda_set.
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <new>
#include <string>
#include <vector>

#include <unistd.h>

#ifdef HIFIGAN_TRANSLATED
#include HIFIGAN_TRANSLATED  // the kernels' intermediate code: tests/intermediate_code.py
#else
#define HIFIGAN_EMULATED
#include "cuda/kernels/kernels.cu"
#endif

#include "cuda/driver.h"

using namespace hifigan::cuda;

namespace {

std::map<std::string, long long> settings = {{"devices", 1}, {"major", 8}, {"minor", 0}, {"version", 12090},
                                             {"free", 8LL << 30}, {"total", 8LL << 30}};
std::recursive_mutex mutex;  // a card does one thing after another
std::deque<std::function<void()>> queued;
Result lost = kSuccess;      // the card's last words, for every later call
thread_local int contexts = 0;
pid_t starter = 0;           // the process that started the driver; one forked from it cannot use it

long long setting(const char* name) {
  const auto found = settings.find(name);
  return found == settings.end() ? 0 : found->second;
}

constexpr Result kIllegalAddress = 700, kInvalidValue = 1, kNotFound = 500, kInvalidContext = 201, kInvalidHandle = 400;

bool is_forked() { return starter != 0 && starter != getpid(); }

Result ready() {
  if (is_forked()) return kNotInitialized;
  if (lost != kSuccess) return lost;
  if (setting("lose") != 0) lost = static_cast<Result>(setting("lose"));
  return lost != kSuccess ? lost : contexts > 0 ? kSuccess : kInvalidContext;
}

Result enqueue(std::function<void()> work) {
  const std::lock_guard lock(mutex);
  if (const Result result = ready(); result != kSuccess) return result;
  queued.push_back(std::move(work));
  return kSuccess;
}

Result take(void** address, std::size_t bytes, bool on_card) {
  const std::lock_guard lock(mutex);
  if (const Result result = ready(); result != kSuccess) return result;
  if (on_card && static_cast<long long>(bytes) > setting("free")) return kOutOfMemory;
  // Nothing in it that anybody could take for a number.
  char* memory = static_cast<char*>(std::aligned_alloc(256, (bytes + 255) / 256 * 256));
  std::fill_n(memory, bytes, setting("idle") != 0 ? '\0' : '\xff');
  if (on_card) {
    settings["free"] -= static_cast<long long>(bytes);
    allocations()[reinterpret_cast<std::uintptr_t>(memory)] = bytes;
  }
  *address = memory;
  return kSuccess;
}

Result drain(const std::function<bool()>& enough = [] { return false; }) {
  while (!queued.empty() && !enough()) {
    const std::function<void()> step = std::move(queued.front());
    queued.pop_front();
    try {
      step();
    } catch (const IllegalAccess& error) {
      std::fprintf(stderr, "fake card: %s\n", error.what());
      queued.clear();
      return lost = kIllegalAddress;
    }
  }
  return kSuccess;
}

}  // namespace

extern "C" {

#define EXPORTED __attribute__((visibility("default")))

EXPORTED void fake_cuda_set(const char* name, long long value) {
  const std::lock_guard lock(mutex);
  settings[name] = value;
  if (std::string(name) == "lose" && value == 0) lost = kSuccess, queued.clear();
}
EXPORTED long long fake_cuda_get(const char* name) { return setting(name); }

EXPORTED Result cuInit(unsigned) {
  if (is_forked()) return kNotInitialized;
  const Result result = setting("devices") == 0 ? kNoDevice : static_cast<Result>(setting("init"));
  if (result == kSuccess) starter = getpid();
  return result;
}
EXPORTED Result cuDriverGetVersion(int* version) { return *version = static_cast<int>(setting("version")), kSuccess; }
EXPORTED Result cuDeviceGetCount(int* count) { return *count = static_cast<int>(setting("devices")), kSuccess; }
EXPORTED Result cuDeviceGet(DeviceHandle* device, int index) { return *device = index, kSuccess; }
EXPORTED Result cuDeviceGetName(char* name, int size, DeviceHandle) { return std::snprintf(name, static_cast<std::size_t>(size), "imitated card"), kSuccess; }
EXPORTED Result cuDeviceGetAttribute(int* value, Attribute what, DeviceHandle) {
  *value = static_cast<int>(what == kMajor ? setting("major") : what == kMinor ? setting("minor") : what == kComputeMode ? setting("mode") : 0);
  return kSuccess;
}
// Only the benchmark asks for it: bytes 0, 1 and so on.
EXPORTED Result cuDeviceGetUuid(unsigned char* uuid, DeviceHandle) {
  for (int i = 0; i < 16; ++i) uuid[i] = static_cast<unsigned char>(i);
  return kSuccess;
}
EXPORTED Result cuDevicePrimaryCtxRetain(ContextHandle* context, DeviceHandle device) {
  *context = reinterpret_cast<ContextHandle>(static_cast<std::intptr_t>(device + 1));
  return static_cast<Result>(setting("retain"));
}
EXPORTED Result cuDevicePrimaryCtxRelease_v2(DeviceHandle) { return kSuccess; }
// As the driver's reference warns, it may tell of what failed before.
EXPORTED Result cuCtxPushCurrent_v2(ContextHandle) {
  if (is_forked()) return kNotInitialized;
  const std::lock_guard lock(mutex);
  if (lost == kSuccess) ++contexts;
  return lost;
}
EXPORTED Result cuCtxPopCurrent_v2(ContextHandle*) { return --contexts, kSuccess; }
EXPORTED Result cuModuleLoadData(ModuleHandle* module, const void* image) {
  *module = reinterpret_cast<ModuleHandle>(1);
  if (setting("load") != 0) return static_cast<Result>(setting("load"));
  return std::string(static_cast<const char*>(image)) == "imitated kernels" ? ready() : kInvalidImage;
}
EXPORTED Result cuModuleUnload(ModuleHandle) { return kSuccess; }
EXPORTED Result cuModuleGetFunction(FunctionHandle* function, ModuleHandle, const char* name) {
  const auto found = kernels().find(name);
  if (found == kernels().end()) return kNotFound;
  *function = reinterpret_cast<FunctionHandle>(&found->second);
  return kSuccess;
}
EXPORTED Result cuFuncSetAttribute(FunctionHandle, int, int bytes) { return bytes > 99 * 1024 ? kInvalidValue : kSuccess; }
EXPORTED Result cuMemGetInfo_v2(std::size_t* free, std::size_t* total) {
  *free = static_cast<std::size_t>(setting("free")), *total = static_cast<std::size_t>(setting("total"));
  return kSuccess;
}
EXPORTED Result cuMemAlloc_v2(DevicePointer* address, std::size_t bytes) {
  void* memory = nullptr;
  const Result result = take(&memory, bytes, true);
  *address = reinterpret_cast<std::uintptr_t>(memory);
  return result;
}
EXPORTED Result cuMemFree_v2(DevicePointer address) {
  const std::lock_guard lock(mutex);
  drain();
  const auto found = allocations().find(address);
  settings["free"] += static_cast<long long>(found->second);
  watched_pages().forget(address, found->second);
  allocations().erase(found);
  std::free(reinterpret_cast<void*>(address));
  return kSuccess;
}
EXPORTED Result cuMemAllocHost_v2(void** address, std::size_t bytes) { return take(address, bytes, false); }
EXPORTED Result cuMemFreeHost(void* address) { return drain(), std::free(address), kSuccess; }
// The driver's reference does not say that nothing may be copied.
EXPORTED Result cuMemcpyHtoDAsync_v2(DevicePointer to, const void* from, std::size_t bytes, StreamHandle) {
  if (bytes == 0) return kInvalidValue;
  return enqueue([=] { std::memcpy(reinterpret_cast<void*>(to), from, bytes); });
}
EXPORTED Result cuMemcpyDtoHAsync_v2(void* to, DevicePointer from, std::size_t bytes, StreamHandle) {
  if (bytes == 0) return kInvalidValue;
  return enqueue([=] { std::memcpy(to, reinterpret_cast<void*>(from), bytes); });
}
EXPORTED Result cuMemcpyDtoDAsync_v2(DevicePointer to, DevicePointer from, std::size_t bytes, StreamHandle) {
  if (bytes == 0) return kInvalidValue;
  return enqueue([=] {
    for (const DevicePointer end : {from, to}) check_access(reinterpret_cast<void*>(end), 1), check_access(reinterpret_cast<void*>(end + bytes - 1), 1);
    std::memcpy(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), bytes);
  });
}
// The memory of the tests' own arrays is a card's as well, their second one's on demand.
EXPORTED Result cuPointerGetAttribute(void* value, PointerAttribute, DevicePointer address) {
  const std::lock_guard lock(mutex);
  auto found = allocations().upper_bound(address);
  if (found == allocations().begin() || address >= std::prev(found)->first + std::prev(found)->second) return kInvalidValue;
  return *static_cast<int*>(value) = static_cast<int>(setting("ordinal")), kSuccess;
}
EXPORTED Result cuMemsetD8Async(DevicePointer to, unsigned char value, std::size_t bytes, StreamHandle) {
  if (bytes == 0) return kInvalidValue;
  return enqueue([=] { std::memset(reinterpret_cast<void*>(to), value, bytes); });
}
EXPORTED Result cuStreamCreate(StreamHandle* stream, unsigned) { return *stream = reinterpret_cast<StreamHandle>(1), ready(); }
EXPORTED Result cuStreamDestroy_v2(StreamHandle) { return kSuccess; }
EXPORTED Result cuStreamSynchronize(StreamHandle) {
  const std::lock_guard lock(mutex);
  if (const Result result = ready(); result != kSuccess) return result;
  return drain();
}
// Events: launches that were done before them, -1 if they were noted and are still to come, -2 if they were never noted.
EXPORTED Result cuEventCreate(EventHandle* event, unsigned) { return *event = reinterpret_cast<EventHandle>(new long long(-2)), ready(); }
EXPORTED Result cuEventDestroy_v2(EventHandle event) {
  // One that is still to be noted is noted first.
  return enqueue([=] { delete reinterpret_cast<long long*>(event); });
}
EXPORTED Result cuEventRecord(EventHandle event, StreamHandle stream) {
  if (reinterpret_cast<std::uintptr_t>(stream) > 2) return kInvalidHandle;  // one that was destroyed, say
  *reinterpret_cast<long long*>(event) = -1;
  return enqueue([=] { *reinterpret_cast<long long*>(event) = setting("launches"); });
}
// Only what came before the event is done.
EXPORTED Result cuEventSynchronize(EventHandle event) {
  const std::lock_guard lock(mutex);
  if (const Result result = ready(); result != kSuccess) return result;
  return drain([=] { return *reinterpret_cast<long long*>(event) != -1; });
}
EXPORTED Result cuEventElapsedTime(float* milliseconds, EventHandle before, EventHandle after) {
  const long long began = *reinterpret_cast<long long*>(before), ended = *reinterpret_cast<long long*>(after);
  if (began < 0 || ended < began) return kInvalidValue;
  return *milliseconds = static_cast<float>(ended - began), kSuccess;
}
EXPORTED Result cuStreamWaitEvent(StreamHandle, EventHandle, unsigned) { return ++settings["waits"], ready(); }
EXPORTED Result cuLaunchKernel(FunctionHandle function, unsigned x, unsigned y, unsigned, unsigned threads, unsigned, unsigned, unsigned shared,
                               StreamHandle, void** parameters, void**) {
  const Kernel& kernel = *reinterpret_cast<Kernel*>(function);
  if (static_cast<int>(threads) != kernel.threads || x == 0 || y == 0) return kInvalidValue;
  std::vector<char> parameter(static_cast<char*>(parameters[0]), static_cast<char*>(parameters[0]) + kernel.parameter_bytes);
  return enqueue([=, &kernel] {
    ++settings["launches"];
    if (setting("idle") != 0) return;  // for the time that the host takes
    Watch::start_launch();
    Block& block = Block::of(kernel.threads, shared);
    for (block.y = 0; block.y < static_cast<int>(y); ++block.y)
      for (block.x = 0; block.x < static_cast<int>(x); ++block.x)
        block.run([&] { kernel.call(parameter.data()); },
                  {setting("backwards") != 0, setting("disorder") == 0, setting("hidden") == 0, setting("unfenced") == 0});
  });
}
EXPORTED Result cuGetErrorName(Result result, const char** name) {
  return *name = result == kIllegalAddress ? "CUDA_ERROR_ILLEGAL_ADDRESS" : "CUDA_ERROR_IMITATED", kSuccess;
}
EXPORTED Result cuGetErrorString(Result result, const char** text) {
  return *text = result == kIllegalAddress ? "an illegal memory access was encountered" : "an imitated error", kSuccess;
}
}
