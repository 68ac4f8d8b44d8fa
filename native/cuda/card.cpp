#include "cuda/card.h"

namespace hifigan::cuda {

namespace {

constexpr int kExclusive = 3, kProhibited = 2;  // compute modes, by cuda.h
constexpr int kMaxDynamicShared = 8;            // a function's attribute
constexpr unsigned kNonBlocking = 1;

std::string in_mib(std::size_t bytes) { return std::to_string(bytes >> 20) + " MiB"; }

}  // namespace

CardFacts facts_of(const Driver& driver, int device) {
  int count = 0;
  driver.check(driver.cuDeviceGetCount(&count), "counting the cards");
  if (device < 0 || device >= count)
    throw Unavailable("device 'cuda:" + std::to_string(device) + "' is not there: NVIDIA's driver has " +
                      (count == 1 ? "cuda:0" : "cuda:0 to cuda:" + std::to_string(count - 1)));
  DeviceHandle handle = 0;
  driver.check(driver.cuDeviceGet(&handle, device), "opening the card");
  char name[256] = "";
  driver.check(driver.cuDeviceGetName(name, sizeof name, handle), "asking for the card's name");
  int major = 0, minor = 0;
  driver.check(driver.cuDeviceGetAttribute(&major, kMajor, handle), "asking for the card's capability");
  driver.check(driver.cuDeviceGetAttribute(&minor, kMinor, handle), "asking for the card's capability");
  if (major < 8)
    throw Unavailable(std::string(name) + " has compute capability " + std::to_string(major) + "." + std::to_string(minor) +
                      ", and the kernels need 8.0 (cards from 2020 on): use engine 'torch' there");
  return {handle, name, 10 * major + minor};
}

Card::Card(const std::string& driver_path, int device, std::size_t memory)
    : Card(open_driver(driver_path), facts_of(open_driver(driver_path), device), memory) {}

Card::Card(const Driver& driver, const CardFacts& facts, std::size_t memory)
    : driver_(driver), device_(facts.device), name_(facts.name), memory_(memory) {
  int mode = 0;
  driver_.check(driver_.cuDeviceGetAttribute(&mode, kComputeMode, device_), "asking for the card's mode");
  const Result result = driver_.cuDevicePrimaryCtxRetain(&context_, device_);
  if (result == kOutOfMemory)
    throw Unavailable(name_ + " has no memory left for a process more: nvidia-smi says who has it");
  if (result != kSuccess && (mode == kExclusive || mode == kProhibited))
    throw Unavailable(name_ + (mode == kExclusive ? " is in exclusive use by another process" : " is closed to computing") +
                      ": nvidia-smi --compute-mode tells and changes it");
  driver_.check(result, "opening the card");
  try {
    const Use use(*this);
    driver_.check(driver_.cuStreamCreate(&stream_, kNonBlocking), "making a stream");
  } catch (...) {
    driver_.cuDevicePrimaryCtxRelease_v2(device_);
    throw;
  }
}

Card::~Card() {
  // A forked process has none of this, and the driver would hang.
  if (!is_of_this_process()) return;
  if (begin_use()) {
    if (module_ != nullptr) driver_.cuModuleUnload(module_);
    driver_.cuStreamDestroy_v2(stream_);
    end_use();
  }
  driver_.cuDevicePrimaryCtxRelease_v2(device_);
}

void Card::check_process() const {
  if (!is_of_this_process()) throw DriverError(kForked, kNotInitialized);
}

Card::Use::Use(const Card& card) : card_(card) {
  card.check_process();
  card.driver_.check(card.driver_.cuCtxPushCurrent_v2(card.context_), "using the card");
}

Card::Use::~Use() { card_.end_use(); }

bool Card::begin_use() const { return is_of_this_process() && driver_.cuCtxPushCurrent_v2(context_) == kSuccess; }

void Card::end_use() const {
  ContextHandle left = nullptr;
  driver_.cuCtxPopCurrent_v2(&left);
}

std::pair<std::size_t, std::size_t> Card::free_and_total() const {
  const Use use(*this);
  std::size_t free = 0, total = 0;
  driver_.check(driver_.cuMemGetInfo_v2(&free, &total), "asking for the card's memory");
  return {free, total};
}

void Card::count(std::size_t bytes) const {
  const std::size_t before = taken_.fetch_add(bytes);
  if (before + bytes <= memory_) return;
  taken_ -= bytes;
  throw OutOfMemory("the model may take " + in_mib(memory_) + " of " + name_ + ", has " + in_mib(before) + ", and needs " + in_mib(bytes) +
                        " more: give it more with the engine's setting memory, or open fewer streams",
                    kOutOfMemory);
}

int Card::number_of_card(DevicePointer address) const {
  const Use use(*this);
  int number = -1;
  return driver_.cuPointerGetAttribute(&number, kOrdinalOfDevice, address) == kSuccess ? number : -1;
}

void Card::synchronize() const { driver_.check(driver_.cuStreamSynchronize(stream_), "computing"); }

void Card::wait_for(StreamHandle other) const {
  Moment given(*this, false);
  given.note(other);
  driver_.check(driver_.cuStreamWaitEvent(stream_, given.event(), 0), "waiting for the caller's stream");
}

Moment::Moment(const Card& card, bool timed) : card_(card) {
  constexpr unsigned kWithoutTime = 2;
  card.driver().check(card.driver().cuEventCreate(&event_, timed ? 0 : kWithoutTime), "making an event");
}

// What still waits for it goes on to do so.
Moment::~Moment() {
  if (!card_.begin_use()) return;
  card_.driver().cuEventDestroy_v2(event_);
  card_.end_use();
}

void Moment::wait() const { card_.driver().check(card_.driver().cuEventSynchronize(event_), "computing"); }

void Moment::note(StreamHandle stream) { card_.driver().check(card_.driver().cuEventRecord(event_, stream), "noting a stream's place"); }

double Moment::microseconds_since(const Moment& before) const {
  float milliseconds = 0;
  card_.driver().check(card_.driver().cuEventElapsedTime(&milliseconds, before.event_, event_), "asking for the card's time");
  return milliseconds * 1e3;
}

void Card::load(const std::string& image) {
  const Use use(*this);
  const Result result = driver_.cuModuleLoadData(&module_, image.c_str());
  if (result == kOutOfMemory) driver_.check(result, "loading the kernels");
  if (result == kUnsupportedCode)
    throw Unavailable("the kernels have no machine code for " + name_ + ", and NVIDIA's driver is too old for their intermediate code: "
                      "install 575 or newer");
  if (result != kSuccess) {
    const char* text = nullptr;
    driver_.cuGetErrorString(result, &text);
    throw Unavailable("the kernels do not load on " + name_ + " (" + (text == nullptr ? "unknown error" : text) +
                      "): the file is damaged, or of another version of this package: install it again");
  }
}

FunctionHandle Card::function(const std::string& kernel, int shared_bytes) {
  auto& [handle, largest] = functions_[kernel];
  if (handle == nullptr && driver_.cuModuleGetFunction(&handle, module_, kernel.c_str()) != kSuccess)
    throw Unavailable("the kernels have no '" + kernel + "': their file is of another version of this package: install it again");
  if (shared_bytes > largest) {
    driver_.check(driver_.cuFuncSetAttribute(handle, kMaxDynamicShared, shared_bytes), "asking for shared memory");
    largest = shared_bytes;
  }
  return handle;
}

template <bool PINNED>
void Memory<PINNED>::reserve(std::size_t bytes) {
  if (bytes <= size_) return;
  free();
  const Driver& driver = card_.driver();
  if (!PINNED) card_.count(bytes);
  void* host = nullptr;
  const Result result = PINNED ? driver.cuMemAllocHost_v2(&host, bytes) : driver.cuMemAlloc_v2(&address_, bytes);
  if (result != kSuccess && !PINNED) card_.discount(bytes);
  if (result == kOutOfMemory) {
    address_ = 0;
    if (PINNED) throw OutOfMemory("the machine has no memory left: " + in_mib(bytes) + " more are needed", result);
    const auto [left, total] = card_.free_and_total();
    throw OutOfMemory(card_.name() + " has no memory left: " + in_mib(bytes) + " more are needed, and " + in_mib(left) + " of " +
                          in_mib(total) + " are free",
                      result);
  }
  driver.check(result, "taking memory");
  if (PINNED) address_ = reinterpret_cast<std::uintptr_t>(host);
  size_ = bytes;
}

template <bool PINNED>
void Memory<PINNED>::free() {
  // A lost card has freed it already, and refuses to be used: no error here, where memory may be freed for another one.
  if (address_ != 0 && card_.begin_use()) {
    if (PINNED) {
      card_.driver().cuMemFreeHost(host());
    } else {
      card_.driver().cuMemFree_v2(address_);
    }
    card_.end_use();
  }
  if (!PINNED) card_.discount(size_);
  address_ = 0, size_ = 0;
}

template class Memory<true>;
template class Memory<false>;

}  // namespace hifigan::cuda
