#include "cuda/driver.h"

#include <map>
#include <memory>
#include <mutex>

#ifdef _WIN32
#include <process.h>
#include <windows.h>
#else
#include <dlfcn.h>
#include <unistd.h>
#endif

namespace hifigan::cuda {

namespace {

#ifdef _WIN32
constexpr const char* kLibrary = "nvcuda.dll";
void* open_library(const std::string& path, std::string*) { return reinterpret_cast<void*>(LoadLibraryA(path.c_str())); }
void* find_function(void* library, const char* name) {
  return reinterpret_cast<void*>(GetProcAddress(static_cast<HMODULE>(library), name));
}
long process_number() { return _getpid(); }
#else
constexpr const char* kLibrary = "libcuda.so.1";
void* open_library(const std::string& path, std::string* why) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) *why = dlerror();
  return library;
}
void* find_function(void* library, const char* name) { return dlsym(library, name); }
long process_number() { return getpid(); }
#endif

// What the wheel's machine code was made for: CUDA 12.0.
constexpr int kOldest = 12000;

std::string version_text(int version) { return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10); }

std::unique_ptr<Driver> opened(const std::string& path) {
  std::string why = "not found";
  void* library = open_library(path, &why);
  if (library == nullptr)
    throw Unavailable("NVIDIA's driver is not there (" + why + "): install the driver of the card, 525 or newer; in a container, start it "
                      "with the card (docker run --gpus all)");
  auto driver = std::make_unique<Driver>();
  const char* absent = nullptr;
#define HIFIGAN_FIND(NAME, PARAMETERS)                                            \
  driver->NAME = reinterpret_cast<Result(*) PARAMETERS>(find_function(library, #NAME)); \
  if (driver->NAME == nullptr) absent = #NAME;
  HIFIGAN_DRIVER_FUNCTIONS(HIFIGAN_FIND)
#undef HIFIGAN_FIND
  if (absent != nullptr)
    throw Unavailable("NVIDIA's driver is too old, it has no " + std::string(absent) + ": install 525 or newer");
  // The version can be asked before all else.
  driver->check(driver->cuDriverGetVersion(&driver->version), "asking for the driver's version");
  if (driver->version < kOldest)
    throw Unavailable("NVIDIA's driver is too old: it is for CUDA " + version_text(driver->version) + ", and the kernels need " +
                      version_text(kOldest) + " (driver 525 or newer)");
  const Result result = driver->cuInit(0);
  // Another package may have started it before the fork.
  if (result == kNotInitialized) throw Unavailable(kForked);
  if (result == kNoDevice) throw Unavailable("NVIDIA's driver finds no card: look at what nvidia-smi says, and at CUDA_VISIBLE_DEVICES");
  if (result != kSuccess) {
    const char* text = nullptr;
    driver->cuGetErrorString(result, &text);
    throw Unavailable("NVIDIA's driver does not start (" + std::string(text == nullptr ? "unknown error" : text) +
                      "): look at what nvidia-smi says");
  }
  driver->process = process_number();
  return driver;
}

// Whether the driver refuses everything in this process after it, or a context that others share is gone: by CUDA's reference of
// CUresult what says that the process must end, and 214, 709, 710 and 999.
bool is_lost(Result result) {
  switch (result) {
    case 214:  // uncorrectable memory error
    case 226:  // contained hardware error
    case 700:  // illegal address
    case 702:  // a kernel took too long
    case 709:  // context destroyed
    case 710:  // assertion
    case 721:  // tensor memory not given back
    case 810:  // ended by the server of several processes
    case 911:  // a device beside the card
    case 999:  // unknown
      return true;
    default:
      return result >= 714 && result <= 719;  // faults of a kernel: stack, instruction, alignment, address space, counter, others
  }
}

}  // namespace

bool Driver::is_of_this_process() const { return process == process_number(); }

void Driver::check(Result result, const char* what) const {
  if (result == kSuccess) return;
  const char* name = nullptr;
  const char* text = nullptr;
  cuGetErrorName(result, &name);
  cuGetErrorString(result, &text);
  const std::string message = std::string(what) + ": " + (text == nullptr ? "unknown error" : text) + " (" +
                              (name == nullptr ? std::to_string(result) : name) + ")";
  if (result == kOutOfMemory) throw OutOfMemory(message, result);
  throw DriverError(is_lost(result) ? message + ": the card is lost to this process: end it, and load the model in another" : message, result);
}

const Driver& open_driver(const std::string& path) {
  static std::mutex mutex;
  static std::map<std::string, std::unique_ptr<Driver>> drivers;
  {
    const std::lock_guard lock(mutex);
    if (const auto known = drivers.find(path); known != drivers.end()) {
      if (!known->second->is_of_this_process()) throw Unavailable(kForked);
      return *known->second;
    }
  }
  // Without the lock, for which a process that is forked meanwhile would wait for ever. One that was not there may have come since.
  std::unique_ptr<Driver> driver = opened(path.empty() ? kLibrary : path);
  const std::lock_guard lock(mutex);
  return *drivers.try_emplace(path, std::move(driver)).first->second;
}

}  // namespace hifigan::cuda
