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
  Steps(const Card& card, bool wanted) : card_(card), wanted_(wanted) {}
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

// What a pass has for itself; the workspace is that of the pass that is computed.
struct NetworkOnCard::PassBuffers {
  explicit PassBuffers(const Card& card) : upload(card), audio(card), largest(card), staging(card), received(card) {}
  Memory<false> upload, audio, largest;
  Memory<true> staging, received;
};

NetworkOnCard::NetworkOnCard(const std::string& driver_path, int device, const std::string& image, CardPlan plan, const std::string& weights,
                             std::size_t memory)
    : card_(driver_path, device, memory), plan_(std::move(plan)), weights_(card_), workspace_(card_) {
  card_.load(image);
  const Card::Use use(card_);
  for (const PlannedLaunch& planned : plan_.launches) card_.function(planned.kernel, planned.shared_bytes);
  card_.function("enter", 0);
  card_.function("carry", 0);
  weights_.reserve(weights.size());
  Memory<true> staging(card_);
  staging.reserve(weights.size());
  std::memcpy(staging.host(), weights.data(), weights.size());
  const Driver& driver = card_.driver();
  driver.check(driver.cuMemcpyHtoDAsync_v2(weights_.address(), staging.host(), weights.size(), card_.stream()), "copying the weights");
  card_.synchronize();
}

NetworkOnCard::~NetworkOnCard() = default;

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

std::unique_ptr<NetworkOnCard::PassBuffers> NetworkOnCard::take_buffers() {
  const std::lock_guard lock(buffers_mutex_);
  if (free_buffers_.empty()) return std::make_unique<PassBuffers>(card_);
  std::unique_ptr<PassBuffers> buffers = std::move(free_buffers_.back());
  free_buffers_.pop_back();
  return buffers;
}

void NetworkOnCard::drop_idle_buffers() {
  const std::lock_guard lock(buffers_mutex_);
  free_buffers_.clear();
}

std::unique_ptr<NetworkOnCard::PassUnderWay> NetworkOnCard::begin(const std::vector<PassItem>& items, const Mels& mels, const float* added,
                                                                  const std::vector<DevicePointer>& places, bool with_steps) {
  const Card::Use use(card_);  // before the lock, which nobody gives back in a forked process
  const std::lock_guard lock(mutex_);
  const Driver& driver = card_.driver();
  Pass pass(plan_, items, mels, added);
  const std::size_t report_bytes = pass.report_bytes();
  auto under_way = std::make_unique<PassUnderWay>(*this, take_buffers(), std::make_unique<Steps>(card_, with_steps));
  under_way->audio_bytes_ = places.empty() ? aligned(pass.samples() * 4) : 0;
  under_way->items_ = items.size();
  for (std::size_t i = 0; places.empty() && i < items.size(); ++i) under_way->samples_.emplace_back(pass.first_sample(i), pass.samples_of(i));
  PassBuffers& own = *under_way->buffers_;
  // Passes that are under way use the workspace; a larger one must wait for them.
  if (pass.workspace_bytes() > workspace_.size()) card_.synchronize();
  const auto reserve = [&] {
    workspace_.reserve(std::max<std::size_t>(pass.workspace_bytes(), 256));
    own.audio.reserve(std::max<std::size_t>(pass.samples() * 4, 256));
    own.largest.reserve(std::max<std::size_t>(report_bytes, 256));
    own.upload.reserve(pass.upload_bytes());
    own.staging.reserve(pass.upload_bytes());
    own.received.reserve(under_way->audio_bytes_ + report_bytes);
  };
  try {
    reserve();
  } catch (const OutOfMemory&) {
    // Those of passes that are done may be in the way. New streams do not get them: their passes will need some.
    drop_idle_buffers();
    reserve();
  }
  pass.lie_in({weights_.address(), workspace_.address(), own.audio.address(), own.upload.address(), own.largest.address()});
  pass.write_upload(own.staging.host());

  Steps& steps = *under_way->steps_;
  under_way->began_.note(card_.stream());
  steps.note("copies");
  driver.check(driver.cuMemcpyHtoDAsync_v2(own.upload.address(), own.staging.host(), pass.upload_bytes(), card_.stream()), "copying the mels");
  driver.check(driver.cuMemsetD8Async(own.largest.address(), 0, report_bytes, card_.stream()), "clearing memory");
  Entry entry = pass.entry();
  steps.note("enter");
  start("enter", pass.entry_blocks(), kEntryThreads, 0, &entry);
  const bool keeps_rows = pass.keeps_rows();
  for (std::size_t number = 0; number < plan_.launches.size(); ++number) {
    const PlannedLaunch& planned = plan_.launches[number];
    Launch launch = pass.launch(number);
    Exit exit{launch, own.audio.address(), plan_.ending};
    void* const parameter = planned.kernel == "leave" ? static_cast<void*>(&exit) : &launch;
    steps.note(planned.kernel);
    start(planned.kernel.c_str(), pass.blocks(number), planned.threads, planned.shared_bytes, parameter);
    if (!keeps_rows || planned.carried.empty()) continue;
    steps.note("carry");
    for (Carry& carry : pass.carries(number))
      start("carry", {static_cast<unsigned>(items.size()), static_cast<unsigned>(carry.count)}, kCarryThreads, 0, &carry);
  }
  steps.note("copies");
  if (places.empty() && pass.samples() != 0)
    driver.check(driver.cuMemcpyDtoHAsync_v2(own.received.host(), own.audio.address(), pass.samples() * 4, card_.stream()), "copying the audio");
  for (std::size_t i = 0; i < places.size(); ++i) {
    if (pass.samples_of(i) != 0)
      driver.check(driver.cuMemcpyDtoDAsync_v2(places[i], own.audio.address() + pass.first_sample(i) * 4, pass.samples_of(i) * 4, card_.stream()), "copying the audio");
  }
  driver.check(driver.cuMemcpyDtoHAsync_v2(own.received.host() + under_way->audio_bytes_, own.largest.address(), report_bytes, card_.stream()),
               "copying the audio");
  steps.note("end");
  under_way->ended_.note(card_.stream());
  under_way->noted_ = true;
  return under_way;
}

NetworkOnCard::PassUnderWay::PassUnderWay(NetworkOnCard& network, std::unique_ptr<PassBuffers> buffers, std::unique_ptr<Steps> steps)
    : network_(network), buffers_(std::move(buffers)), steps_(std::move(steps)), began_(network.card_), ended_(network.card_) {}

NetworkOnCard::PassUnderWay::~PassUnderWay() {
  const Card& card = network_.card_;
  // A forked process has none of it, and nobody who gives back the lock.
  if (!card.is_of_this_process()) return;
  // The card may still use the buffers, unless it is lost. What comes behind this pass does not.
  if (!waited_ && card.begin_use()) {
    if (noted_) {
      card.driver().cuEventSynchronize(ended_.event());
    } else {
      card.driver().cuStreamSynchronize(card.stream());
    }
    card.end_use();
  }
  const std::lock_guard lock(network_.buffers_mutex_);
  network_.free_buffers_.push_back(std::move(buffers_));
}

Results NetworkOnCard::PassUnderWay::results() {
  const Card::Use use(network_.card_);
  ended_.wait();
  waited_ = true;
  Results results{{}, reinterpret_cast<const float*>(buffers_->received.host() + audio_bytes_), items_, ended_.microseconds_since(began_),
                  steps_->times()};
  for (const auto& [first, count] : samples_)
    results.audio.emplace_back(reinterpret_cast<const float*>(buffers_->received.host()) + first, count);
  return results;
}

void NetworkOnCard::wait_for(DevicePointer stream) {
  const Card::Use use(card_);
  card_.wait_for(reinterpret_cast<StreamHandle>(static_cast<std::uintptr_t>(stream)));
}

DevicePointer NetworkOnCard::take_state() {
  card_.check_process();  // before the lock, as in begin
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
  if (!card_.is_of_this_process()) return;
  const std::lock_guard lock(states_);
  free_states_.push_back(state);
}

}  // namespace hifigan::cuda
