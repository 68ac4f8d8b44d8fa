#include "cuda/network_on_card.h"

#include <algorithm>
#include <cstring>

namespace hifigan::cuda {

namespace {

constexpr std::size_t kStatesOfASlab = 16;

std::size_t aligned(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

}  // namespace

// Moments between the kernels of a pass.
class NetworkOnCard::Steps {
 public:
  Steps(const Card& card, bool wanted) : card_(card), wanted_(wanted) { note("copies"); }
  // A step begins, which ends where the next one does.
  void note(const std::string& name) {
    if (!wanted_) return;
    moments_.push_back(std::make_unique<Moment>(card_));
    moments_.back()->note(card_.stream());
    names_.push_back(name);
  }
  std::vector<std::pair<std::string, double>> times() const {
    std::vector<std::pair<std::string, double>> times;
    for (std::size_t i = 1; i < moments_.size(); ++i) times.emplace_back(names_[i - 1], moments_[i]->microseconds_since(*moments_[i - 1]));
    return times;
  }

 private:
  const Card& card_;
  bool wanted_;
  std::vector<std::unique_ptr<Moment>> moments_;
  std::vector<std::string> names_;
};

NetworkOnCard::NetworkOnCard(const std::string& driver_path, int device, const std::string& image, CardPlan plan, const std::string& weights,
                             std::size_t memory)
    : card_(driver_path, device, memory), plan_(std::move(plan)), weights_(card_), largest_(card_), workspace_(card_), upload_(card_),
      audio_(card_), staging_(card_), received_(card_) {
  card_.load(image);
  const Card::Use use(card_);
  for (const PlannedLaunch& planned : plan_.launches) card_.function(planned.kernel, planned.shared_bytes);
  card_.function("enter", 0);
  card_.function("carry", 0);
  weights_.reserve(weights.size());
  staging_.reserve(weights.size());
  std::memcpy(staging_.host(), weights.data(), weights.size());
  const Driver& driver = card_.driver();
  driver.check(driver.cuMemcpyHtoDAsync_v2(weights_.address(), staging_.host(), weights.size(), card_.stream()), "copying the weights");
  card_.synchronize();
  staging_.free();
}

std::size_t NetworkOnCard::samples_of(const PassItem& item) const {
  const Span span = span_of({item.before, item.after, 0, 0, item.finished}, plan_.value(plan_.audio));
  return static_cast<std::size_t>(span.last - span.first);
}

void NetworkOnCard::start(const char* kernel, std::pair<unsigned, unsigned> blocks, int threads, int shared_bytes, void* parameter) {
  const auto [x, y] = blocks;
  if (x == 0 || y == 0) return;
  const Driver& driver = card_.driver();
  void* parameters[] = {parameter};
  driver.check(driver.cuLaunchKernel(card_.function(kernel, shared_bytes), x, y, 1, static_cast<unsigned>(threads), 1, 1,
                                     static_cast<unsigned>(shared_bytes), card_.stream(), parameters, nullptr),
               kernel);
}

Results NetworkOnCard::run(const std::vector<PassItem>& items, const Mels& mels, const float* added, const Audio& audio, bool with_steps) {
  const std::lock_guard lock(mutex_);
  const Card::Use use(card_);
  const Driver& driver = card_.driver();
  Pass pass(plan_, items, mels, added);
  const std::size_t audio_bytes = audio.on_card.empty() ? aligned(pass.samples() * 4) : 0, report_bytes = pass.report_bytes();
  // All of it before work is under way, which an error here would leave running.
  workspace_.reserve(std::max<std::size_t>(pass.workspace_bytes(), 256));
  audio_.reserve(std::max<std::size_t>(pass.samples() * 4, 256));
  largest_.reserve(std::max<std::size_t>(report_bytes, 256));
  upload_.reserve(pass.upload_bytes());
  staging_.reserve(pass.upload_bytes());
  received_.reserve(audio_bytes + report_bytes);
  pass.lie_in({weights_.address(), workspace_.address(), audio_.address(), upload_.address(), largest_.address()});
  pass.write_upload(staging_.host());

  Moment began(card_), ended(card_);
  began.note(card_.stream());
  Steps steps(card_, with_steps);
  driver.check(driver.cuMemcpyHtoDAsync_v2(upload_.address(), staging_.host(), pass.upload_bytes(), card_.stream()), "copying the mels");
  driver.check(driver.cuMemsetD8Async(largest_.address(), 0, report_bytes, card_.stream()), "clearing memory");
  Entry entry = pass.entry();
  steps.note("enter");
  start("enter", pass.entry_blocks(), kEntryThreads, 0, &entry);
  const bool keeps_rows = pass.keeps_rows();
  for (std::size_t number = 0; number < plan_.launches.size(); ++number) {
    const PlannedLaunch& planned = plan_.launches[number];
    Launch launch = pass.launch(number);
    Exit exit{launch, audio_.address(), plan_.ending};
    void* const parameter = planned.kernel == "leave" ? static_cast<void*>(&exit) : &launch;
    steps.note(planned.kernel);
    start(planned.kernel.c_str(), pass.blocks(number), planned.threads, planned.shared_bytes, parameter);
    if (!keeps_rows || planned.carried.empty()) continue;
    steps.note("carry");
    for (Carry& carry : pass.carries(number))
      start("carry", {static_cast<unsigned>(items.size()), static_cast<unsigned>(carry.count)}, kCarryThreads, 0, &carry);
  }
  steps.note("copies");
  if (audio_bytes != 0)
    driver.check(driver.cuMemcpyDtoHAsync_v2(received_.host(), audio_.address(), pass.samples() * 4, card_.stream()), "copying the audio");
  for (std::size_t i = 0; i < audio.on_card.size(); ++i) {
    if (pass.samples_of(i) != 0)
      driver.check(driver.cuMemcpyDtoDAsync_v2(audio.on_card[i], audio_.address() + pass.first_sample(i) * 4, pass.samples_of(i) * 4, card_.stream()), "copying the audio");
  }
  driver.check(driver.cuMemcpyDtoHAsync_v2(received_.host() + audio_bytes, largest_.address(), report_bytes, card_.stream()), "copying the audio");
  steps.note("end");
  ended.note(card_.stream());
  card_.synchronize();

  for (std::size_t i = 0; i < audio.host.size(); ++i) {
    if (pass.samples_of(i) != 0) std::memcpy(audio.host[i], received_.host() + pass.first_sample(i) * 4, pass.samples_of(i) * 4);
  }
  Results results{std::vector<float>(report_bytes / 4), ended.microseconds_since(began), steps.times()};
  if (report_bytes != 0) std::memcpy(results.largest.data(), received_.host() + audio_bytes, report_bytes);
  return results;
}

void NetworkOnCard::wait_for(DevicePointer stream) {
  const Card::Use use(card_);
  card_.wait_for(reinterpret_cast<StreamHandle>(static_cast<std::uintptr_t>(stream)));
}

DevicePointer NetworkOnCard::take_state() {
  const std::lock_guard lock(states_);
  if (free_states_.empty()) {
    const Card::Use use(card_);
    const std::size_t bytes = aligned(static_cast<std::size_t>(std::max(plan_.state_bytes, 1LL)));
    auto slab = std::make_unique<Memory<false>>(card_);
    slab->reserve(bytes * kStatesOfASlab);
    for (std::size_t i = kStatesOfASlab; i-- > 0;) free_states_.push_back(slab->address() + i * bytes);
    slabs_.push_back(std::move(slab));
  }
  const DevicePointer state = free_states_.back();
  free_states_.pop_back();
  return state;
}

void NetworkOnCard::give_state(DevicePointer state) {
  const std::lock_guard lock(states_);
  free_states_.push_back(state);
}

}  // namespace hifigan::cuda
