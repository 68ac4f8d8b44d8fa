#include "cuda/pass.h"

#include <algorithm>
#include <cstring>

namespace hifigan::cuda {

namespace {

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

int CardPlan::reports() const {
  int count = 1;
  for (const PlannedLaunch& planned : launches)
    for (const Branch& branch : planned.branches) count = std::max(count, branch.layer + 2);
  return count;
}

Pass::Pass(const CardPlan& plan, const std::vector<PassItem>& items, const Mels& mels, const float* added)
    : plan_(plan), mels_(mels), values_(plan.values), sources_(mels.on_card), reports_(plan.reports()) {
  for (const PassItem& item : items) {
    items_.push_back({item.before, item.after, item.state, frames_, item.finished});
    frames_ += static_cast<int>(item.after - item.before);
  }
  // Values share buffers with those that are read no more.
  std::vector<std::size_t> sizes(static_cast<std::size_t>(plan.buffers));
  for (Value& value : values_) {
    value.total = frames_ * value.rate + static_cast<int>(items.size()) * spare_of(value);
    if (&value - values_.data() == plan.audio) continue;
    std::size_t& size = sizes[value.rows];
    size = std::max(size, aligned(static_cast<std::size_t>(value.planes) * static_cast<std::size_t>(value.chunks) * static_cast<std::size_t>(value.total) * 16));
  }
  for (const std::size_t size : sizes) starts_.push_back(workspace_bytes_), workspace_bytes_ += size;
  for (const PlannedLaunch& planned : plan.launches) {
    tiles_.emplace_back();
    for (std::size_t i = 0; i < planned.branches.size(); ++i) {
      std::vector<int> before{0};
      for (const Item& item : items_)
        before.push_back(before.back() + tiles_of(item, plan.value(planned.branches[i].output), planned.branches[i], planned.positions[i]));
      tiles_.back().push_back(std::move(before));
    }
  }
  sources_.resize(items.size());
  items_at_ = place(items_.data(), items_.size() * sizeof(Item));
  values_at_ = place(values_.data(), values_.size() * sizeof(Value));
  sources_at_ = place(sources_.data(), sources_.size() * sizeof(Source));
  for (const auto& branches : tiles_) {
    tiles_at_.emplace_back();
    for (const std::vector<int>& before : branches) tiles_at_.back().push_back(place(before.data(), before.size() * 4));
  }
  added_at_ = place(added, items.size() * static_cast<std::size_t>(plan.added_channels) * 4);
  mel_at_ = upload_bytes_;
  if (!mels.host.empty()) upload_bytes_ += aligned(static_cast<std::size_t>(plan.bands) * static_cast<std::size_t>(frames_) * 4);
}

std::size_t Pass::place(const void* from, std::size_t bytes) {
  parts_.push_back({from, bytes, upload_bytes_});
  upload_bytes_ += aligned(bytes);
  return parts_.back().at;
}

std::size_t Pass::samples() const { return static_cast<std::size_t>(values_[static_cast<std::size_t>(plan_.audio)].total); }

std::size_t Pass::first_sample(std::size_t item) const {
  return static_cast<std::size_t>(offset_of(items_[item], static_cast<int>(item), plan_.value(plan_.audio)));
}

std::size_t Pass::samples_of(std::size_t item) const {
  const Span span = span_of(items_[item], plan_.value(plan_.audio));
  return static_cast<std::size_t>(span.last - span.first);
}

bool Pass::keeps_rows() const {
  return std::any_of(items_.begin(), items_.end(), [](const Item& item) { return item.state != 0 && item.finished == 0; });
}

void Pass::lie_in(const PassMemory& memory) {
  memory_ = memory;
  for (Value& value : values_)
    value.rows = &value - values_.data() == plan_.audio ? memory.audio : memory.workspace + starts_[value.rows];
  if (mels_.host.empty()) return;
  for (std::size_t i = 0; i < items_.size(); ++i)
    sources_[i] = {memory.upload + mel_at_ + static_cast<Address>(items_[i].start) * static_cast<Address>(plan_.bands) * 4,
                   items_[i].after - items_[i].before, 1, kFloat32};
}

void Pass::write_upload(char* to) const {
  for (const Part& part : parts_) {
    if (part.bytes != 0) std::memcpy(to + part.at, part.from, part.bytes);
  }
  write_mels(reinterpret_cast<float*>(to + mel_at_));
}

void Pass::write_mels(float* to) const {
  for (std::size_t i = 0; i < mels_.host.size(); ++i) {
    const auto [numbers, band_step, frame_step] = mels_.host[i];
    const long long frames = items_[i].after - items_[i].before;
    for (int band = 0; band < plan_.bands; ++band, to += frames) {
      const float* const from = numbers + band * band_step;
      if (frame_step == 1) {
        std::copy_n(from, frames, to);
      } else {
        for (long long frame = 0; frame < frames; ++frame) to[frame] = from[frame * frame_step];
      }
    }
  }
}

Entry Pass::entry() const {
  const auto in_weights = [&](long long place) { return place < 0 ? 0 : memory_.weights + static_cast<Address>(place); };
  return {memory_.upload + sources_at_, in_weights(plan_.means), in_weights(plan_.scales), memory_.upload + items_at_, memory_.largest,
          static_cast<int>(items_.size()), reports_, frames_, plan_.bands, values_[static_cast<std::size_t>(plan_.mel)]};
}

std::pair<unsigned, unsigned> Pass::entry_blocks() const {
  return {static_cast<unsigned>(ceiling(frames_, kEntryThreads)), static_cast<unsigned>(plan_.value(plan_.mel).chunks)};
}

Launch Pass::launch(std::size_t number) const {
  const PlannedLaunch& planned = plan_.launches[number];
  Launch launch{memory_.upload + values_at_, memory_.upload + items_at_, memory_.largest, static_cast<int>(items_.size()),
                static_cast<int>(planned.branches.size()), reports_, {}};
  for (std::size_t i = 0; i < planned.branches.size(); ++i) {
    Branch& branch = launch.branches[i] = planned.branches[i];
    branch.weights += memory_.weights;
    branch.biases += memory_.weights;
    if (branch.added != 0) branch.added = memory_.upload + added_at_ + (branch.added - 1) * items_.size() * 4;
    branch.tiles = memory_.upload + tiles_at_[number][i];
  }
  return launch;
}

std::pair<unsigned, unsigned> Pass::blocks(std::size_t number) const {
  const PlannedLaunch& planned = plan_.launches[number];
  int tiles = 0, columns = 0;
  for (std::size_t i = 0; i < planned.branches.size(); ++i) {
    tiles += tiles_[number][i].back();
    columns = std::max(columns, planned.branches[i].columns);
  }
  return {static_cast<unsigned>(tiles), planned.columns == 0 ? 1 : static_cast<unsigned>(ceiling(columns, planned.columns))};
}

std::vector<Carry> Pass::carries(std::size_t number) const {
  const std::vector<int>& carried = plan_.launches[number].carried;
  std::vector<Carry> carries;
  for (std::size_t first = 0; first < carried.size(); first += kMaxCarried) {
    const std::size_t count = std::min<std::size_t>(kMaxCarried, carried.size() - first);
    carries.push_back({memory_.upload + values_at_, memory_.upload + items_at_, static_cast<int>(count), {}});
    std::copy_n(carried.begin() + static_cast<std::ptrdiff_t>(first), count, carries.back().carried);
  }
  return carries;
}

}  // namespace hifigan::cuda
