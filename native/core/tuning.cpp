#include "core/tuning.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <stdexcept>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "core/aligned_buffer.h"
#include "kernels/float_mode.h"
#include "core/thread_seconds.h"

namespace hifigan {

namespace {

// Bounds of what is believed: smaller or larger second caches are not known to exist beside these instruction sets.
constexpr Index kLeastSecondCache = 128 << 10, kMostSecondCache = 16 << 20, kUsualSecondCache = 1 << 20;

// "2048K" of the second cache of the first processor, 0 if the system does not say.
Index second_cache_by_system() {
  for (int index = 0; index < 8; ++index) {
    const std::string folder = "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(index) + "/";
    std::ifstream level_file(folder + "level"), type_file(folder + "type"), size_file(folder + "size");
    int level = 0;
    std::string type;
    Index size = 0;
    char unit = 0;
    if (!(level_file >> level) || level != 2 || !(type_file >> type) || type == "Instruction") continue;
    if (!(size_file >> size)) continue;
    size_file >> unit;
    return unit == 'K' ? size << 10 : unit == 'M' ? size << 20 : size;
  }
  return 0;
}

Index second_cache_by_processor() {
#if defined(__x86_64__)
  // Leaf 4 of Intel and 0x8000001D of AMD describe one cache each per sub-leaf, in one format.
  for (const unsigned leaf : {0x4u, 0x8000001Du}) {
    for (unsigned sub = 0; sub < 8; ++sub) {
      unsigned a = 0, b = 0, c = 0, d = 0;
      if (!__get_cpuid_count(leaf, sub, &a, &b, &c, &d)) break;
      const unsigned type = a & 31, level = (a >> 5) & 7;
      if (type == 0) break;
      if (level != 2 || type == 2) continue;
      const Index ways = ((b >> 22) & 1023) + 1, partitions = ((b >> 12) & 1023) + 1, line = (b & 4095) + 1;
      return ways * partitions * line * (Index{c} + 1);
    }
  }
#endif
  return 0;
}

std::vector<Tuning> all_tunings() {
  // Half of the second cache, since weights and rows pass through it as well.
  const Index half = second_cache_bytes() / 2;
  return {{"products-rows", true, true, half}, {"products", true, false, half}, {"panels", false, true, 0}};
}

// One layer of V1's second stage, whose weights are many enough that no cache holds them all.
class TimedLayer {
 public:
  TimedLayer(const Kernels& kernels, const std::vector<const AlignedBuffer*>& lent)
      : kernels_(kernels),
        shape_(kernels.transform_shape(Transform::kFft32, kTaps)),
        stride_(kernels.padded_channels(kChannels)),
        tiled_size_(kernels.tiled_weights_size(Transform::kFft32, kChannels, kChannels)),
        rows_(static_cast<std::size_t>(2 * (kRows + 2 * shape_.samples) * stride_ + stride_), true),
        sets_(sets_in(lent, tiled_size_)),
        own_weights_((kSets - sets_.size()) * tiled_size_, true),
        scratch_(std::max(kernels.tiled_scratch_size(Transform::kFft32, kChannels, kChannels, most_block_bytes()),
                          kernels.direct_scratch_size(kChannels, kChannels, kTaps, 1)),
                 true) {
    for (std::size_t own = 0; sets_.size() < kSets; ++own) sets_.push_back(own_weights_.data() + own * tiled_size_);
  }

  double tiled(const Tuning& tuning) {
    const Index tiles = (kRows + shape_.outputs - 1) / shape_.outputs;
    const ConvArgs layer = args(tuning, next_set());
    return timed([&] { kernels_.conv_tiled({layer, Transform::kFft32, 0, tiles}); });
  }

  // Of a quarter of the rows, times four: it does four times the products.
  double direct(const Tuning& tuning) {
    ConvArgs layer = args(tuning, next_set());
    layer.rows = kRows / 4;
    return 4 * timed([&] { kernels_.conv_direct(layer); });
  }

 private:
  static constexpr int kChannels = 128, kTaps = 7;
  static constexpr Index kRows = 2048;
  static constexpr std::size_t kSets = 18;

  ConvArgs args(const Tuning& tuning, const float* weights) {
    float* const bias = rows_.data();
    float* const x = bias + stride_;
    float* const y = x + (kRows + 2 * shape_.samples) * stride_;
    return {x,  stride_, kRows + 2 * shape_.samples, {}, weights, kChannels, kChannels, kTaps, 1, y, stride_, kRows,
            {bias, y, stride_, nullptr, 0, 1.0f, {}}, &tuning, scratch_.data()};
  }

  static std::vector<const float*> sets_in(const std::vector<const AlignedBuffer*>& lent, std::size_t floats) {
    std::vector<const float*> sets;
    for (const AlignedBuffer* buffer : lent) {
      const std::size_t whole = buffer->bytes() / sizeof(float) / floats;
      for (std::size_t i = 0; i < whole && sets.size() < kSets; ++i) sets.push_back(buffer->data() + i * floats);
    }
    return sets;
  }

  const float* next_set() { return sets_[set_ = (set_ + 1) % kSets]; }

  template <class F>
  static double timed(const F& f) {
    const double start = thread_seconds();
    f();
    return thread_seconds() - start;
  }

  const Kernels& kernels_;
  const TransformShape shape_;
  const Index stride_;
  const std::size_t tiled_size_;
  AlignedBuffer rows_;
  std::vector<const float*> sets_;
  AlignedBuffer own_weights_, scratch_;
  std::size_t set_ = 0;
};

}  // namespace

Index second_cache_bytes() {
  for (const Index bytes : {second_cache_by_system(), second_cache_by_processor()}) {
    if (bytes >= kLeastSecondCache && bytes <= kMostSecondCache) return bytes;
  }
  return kUsualSecondCache;
}

const std::vector<Tuning>& tunings() {
  // Never destroyed: at the end of a process, threads that it does not wait for may still compute.
  static const std::vector<Tuning>& all = *new std::vector<Tuning>(all_tunings());
  return all;
}

const Tuning& tuning_named(const std::string& name) {
  for (const Tuning& tuning : tunings()) {
    if (tuning.name == name) return tuning;
  }
  throw std::invalid_argument("there is no tuning named '" + name + "'");
}

Index most_block_bytes() {
  Index most = 0;
  for (const Tuning& tuning : tunings()) most = std::max(most, tuning.block_bytes);
  return most;
}

Calibration calibrate(const Kernels& kernels, double budget, const std::vector<const AlignedBuffer*>& lent) {
  const FlushDenormals mode;
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
  TimedLayer layer(kernels, lent);
  Calibration result;
  while (result.seconds.size() < 3 || elapsed() < budget) {
    std::vector<double> seconds;
    for (const Tuning& tuning : tunings()) seconds.push_back(layer.tiled(tuning));
    seconds.push_back(layer.direct(tunings().front()));
    result.seconds.push_back(std::move(seconds));
  }
  return result;
}

}  // namespace hifigan
