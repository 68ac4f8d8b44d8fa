#include "cuda/network_on_card.h"

#include <algorithm>
#include <cstring>

namespace hifigan::cuda {

namespace {

constexpr std::size_t kStatesOfASlab = 16;

std::size_t aligned(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

long long ceiling(long long a, long long b) { return (a + b - 1) / b; }

// Tiles of an item: positions from the first row's to the last one's.
int tiles_of(const Item& item, const Value& out, const Branch& branch, int positions) {
  const Span span = span_of(item, out);
  if (span.last <= span.first) return 0;
  const long long low = (span.first + branch.shift) / branch.stride, high = ceiling(span.last + branch.shift, branch.stride);
  return static_cast<int>(ceiling(high - low, positions));
}

}  // namespace

// What a pass uploads, built in pinned memory, with each part's place in it and on the card.
struct NetworkOnCard::Call {
  std::vector<Item> items;
  std::vector<Value> values;
  std::vector<std::vector<int>> tiles;  // for each branch of each launch, in turn
  std::vector<Address> tile_places, added_places;
  Address items_place, values_place, mel_place;
  int frames;
};

NetworkOnCard::NetworkOnCard(const std::string& driver_path, int device, const std::string& image, CardPlan plan, const std::string& weights)
    : card_(driver_path, device), plan_(std::move(plan)), weights_(card_), largest_(card_), workspace_(card_), call_(card_),
      audio_(card_), staging_(card_), received_(card_) {
  card_.load(image);
  const Card::Use use(card_);
  for (const PlannedLaunch& planned : plan_.launches) card_.function(planned.kernel, planned.shared_bytes);
  card_.function("enter", 0);
  card_.function("carry", 0);
  for (const PlannedLaunch& planned : plan_.launches)
    for (const Branch& branch : planned.branches) layers_ = std::max(layers_, branch.layer + 2);
  weights_.reserve(weights.size());
  staging_.reserve(weights.size());
  std::memcpy(staging_.host(), weights.data(), weights.size());
  const Driver& driver = card_.driver();
  driver.check(driver.cuMemcpyHtoDAsync_v2(weights_.address(), staging_.host(), weights.size(), card_.stream()), "copying the weights");
  card_.synchronize();
  staging_.free();
}

long long NetworkOnCard::samples_of(const PassItem& item) const {
  const Span span = span_of({item.before, item.after, 0, 0, item.finished}, plan_.values[static_cast<std::size_t>(plan_.audio)]);
  return span.last - span.first;
}

std::vector<float> NetworkOnCard::run(const std::vector<PassItem>& items, const float* mel, const float* added, const std::vector<float*>& audio) {
  const std::lock_guard lock(mutex_);
  const Card::Use use(card_);
  const Driver& driver = card_.driver();
  Call call;
  call.frames = 0;
  for (const PassItem& item : items) {
    call.items.push_back({item.before, item.after, item.state, call.frames, item.finished});
    call.frames += static_cast<int>(item.after - item.before);
  }
  // Values share buffers with those that are read no more.
  call.values = plan_.values;
  std::vector<std::size_t> sizes(static_cast<std::size_t>(plan_.buffers));
  for (Value& value : call.values) {
    value.total = call.frames * value.rate + static_cast<int>(items.size()) * spare_of(value);
    if (&value - call.values.data() == plan_.audio) continue;
    std::size_t& size = sizes[value.rows];
    size = std::max(size, aligned(static_cast<std::size_t>(value.planes) * static_cast<std::size_t>(value.chunks) * static_cast<std::size_t>(value.total) * 16));
  }
  std::vector<std::size_t> starts;
  std::size_t bytes = 0;
  for (const std::size_t size : sizes) starts.push_back(bytes), bytes += size;
  workspace_.reserve(std::max<std::size_t>(bytes, 256));
  const std::size_t samples = static_cast<std::size_t>(call.values[static_cast<std::size_t>(plan_.audio)].total);
  audio_.reserve(std::max<std::size_t>(samples * 4, 256));
  // Before work is under way, which an error here would leave running.
  const std::size_t reported = items.size() * static_cast<std::size_t>(layers_) * 4;
  largest_.reserve(std::max<std::size_t>(reported, 256));
  received_.reserve(aligned(samples * 4) + reported);
  for (Value& value : call.values) {
    value.rows = &value - call.values.data() == plan_.audio ? audio_.address() : workspace_.address() + starts[value.rows];
  }

  for (const PlannedLaunch& planned : plan_.launches) {
    for (std::size_t i = 0; i < planned.branches.size(); ++i) {
      const Branch& branch = planned.branches[i];
      std::vector<int> tiles{0};
      for (const Item& item : call.items)
        tiles.push_back(tiles.back() + tiles_of(item, call.values[static_cast<std::size_t>(branch.output)], branch, planned.positions[i]));
      call.tiles.push_back(std::move(tiles));
    }
  }
  // One block of memory for all that the kernels are told.
  struct Part {
    const void* from;
    std::size_t bytes, at;
  };
  std::vector<Part> parts;
  std::size_t end = 0;
  const auto place = [&](const void* from, std::size_t size) {
    parts.push_back({from, size, end});
    end += aligned(size);
    return parts.back().at;
  };
  const std::size_t items_at = place(call.items.data(), call.items.size() * sizeof(Item));
  const std::size_t values_at = place(call.values.data(), call.values.size() * sizeof(Value));
  std::vector<std::size_t> tiles_at;
  for (const std::vector<int>& tiles : call.tiles) tiles_at.push_back(place(tiles.data(), tiles.size() * 4));
  const std::size_t added_at = place(added, items.size() * static_cast<std::size_t>(plan_.added_channels) * 4);
  const std::size_t mel_at = place(mel, static_cast<std::size_t>(plan_.bands) * static_cast<std::size_t>(call.frames) * 4);
  staging_.reserve(end);
  call_.reserve(end);
  for (const Part& part : parts) {
    if (part.bytes != 0) std::memcpy(staging_.host() + part.at, part.from, part.bytes);
  }
  call.items_place = call_.address() + items_at;
  call.values_place = call_.address() + values_at;
  call.mel_place = call_.address() + mel_at;
  for (const std::size_t at : tiles_at) call.tile_places.push_back(call_.address() + at);
  for (const PlannedLaunch& planned : plan_.launches)
    for (const Branch& branch : planned.branches)
      call.added_places.push_back(branch.added == 0 ? 0 : call_.address() + added_at + (branch.added - 1) * items.size() * 4);
  driver.check(driver.cuMemcpyHtoDAsync_v2(call_.address(), staging_.host(), end, card_.stream()), "copying the mels");
  driver.check(driver.cuMemsetD8Async(largest_.address(), 0, reported, card_.stream()), "clearing memory");

  const auto start = [&](const char* kernel, unsigned x, unsigned y, unsigned threads, int shared, void* parameter) {
    if (x == 0 || y == 0) return;
    void* parameters[] = {parameter};
    driver.check(driver.cuLaunchKernel(card_.function(kernel, shared), x, y, 1, threads, 1, 1, static_cast<unsigned>(shared), card_.stream(),
                                       parameters, nullptr),
                 kernel);
  };
  const Value& mel_value = call.values[static_cast<std::size_t>(plan_.mel)];
  Entry entry{call.mel_place, plan_.means < 0 ? 0 : weights_.address() + static_cast<Address>(plan_.means),
              plan_.scales < 0 ? 0 : weights_.address() + static_cast<Address>(plan_.scales), call.items_place, largest_.address(),
              static_cast<int>(items.size()), layers_, call.frames, plan_.bands, mel_value};
  start("enter", static_cast<unsigned>(ceiling(call.frames, kEntryThreads)), static_cast<unsigned>(mel_value.chunks), kEntryThreads, 0, &entry);
  const bool keeps = std::any_of(items.begin(), items.end(), [](const PassItem& item) { return item.state != 0 && !item.finished; });
  std::size_t number = 0;
  for (const PlannedLaunch& planned : plan_.launches) {
    Launch launch{call.values_place, call.items_place, largest_.address(), static_cast<int>(items.size()),
                  static_cast<int>(planned.branches.size()), layers_, {}};
    int tiles = 0, columns = 0;
    for (std::size_t i = 0; i < planned.branches.size(); ++i, ++number) {
      Branch& branch = launch.branches[i] = planned.branches[i];
      branch.weights += weights_.address();
      branch.biases += weights_.address();
      branch.added = call.added_places[number];
      branch.tiles = call.tile_places[number];
      tiles += call.tiles[number].back();
      columns = std::max(columns, branch.columns);
    }
    const unsigned y = planned.columns == 0 ? 1 : static_cast<unsigned>(ceiling(columns, planned.columns));
    if (planned.kernel == "leave") {
      Exit exit{launch, audio_.address(), plan_.ending};
      start("leave", static_cast<unsigned>(tiles), 1, static_cast<unsigned>(planned.threads), planned.shared_bytes, &exit);
    } else {
      start(planned.kernel.c_str(), static_cast<unsigned>(tiles), y, static_cast<unsigned>(planned.threads), planned.shared_bytes, &launch);
    }
    for (std::size_t first = 0; keeps && first < planned.carried.size(); first += kMaxCarried) {
      const std::size_t count = std::min<std::size_t>(kMaxCarried, planned.carried.size() - first);
      Carry carry{call.values_place, call.items_place, static_cast<int>(count), {}};
      std::copy_n(planned.carried.begin() + static_cast<std::ptrdiff_t>(first), count, carry.carried);
      start("carry", static_cast<unsigned>(items.size()), static_cast<unsigned>(count), kCarryThreads, 0, &carry);
    }
  }

  char* const reports = received_.host() + aligned(samples * 4);
  driver.check(driver.cuMemcpyDtoHAsync_v2(received_.host(), audio_.address(), samples * 4, card_.stream()), "copying the audio");
  driver.check(driver.cuMemcpyDtoHAsync_v2(reports, largest_.address(), reported, card_.stream()), "copying the audio");
  card_.synchronize();
  const Value& last = call.values[static_cast<std::size_t>(plan_.audio)];
  for (std::size_t i = 0; i < items.size(); ++i) {
    const auto count = static_cast<std::size_t>(samples_of(items[i]));
    if (count != 0)
      std::memcpy(audio[i], received_.host() + offset_of(call.items[i], static_cast<int>(i), last) * 4, count * 4);
  }
  std::vector<float> largest(reported / 4);
  if (reported != 0) std::memcpy(largest.data(), reports, reported);
  return largest;
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
