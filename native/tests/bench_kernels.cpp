// Speed of every kernel on one thread against the machine's measured ceiling of fused multiply-adds.
//
// bench_kernels ISA [C[:k[:d[:samples]]] ...]: each line is one layer of a 64-frame segment by one algorithm. "done" counts the
// products that the algorithm does, "direct" those that direct convolution would do; both against the ceiling, which is
// measured again beside each layer. Times are CPU time of the thread, the least of the rounds.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "core/thread_seconds.h"
#include "core/tuning.h"
#include "kernels/cpu_features.h"
#include "kernels/kernels.h"

namespace {

using hifigan::Index;

constexpr int kFrames = 64;

struct Free {
  void operator()(float* p) const { ::operator delete[](p, std::align_val_t{64}); }
};
using Floats = std::unique_ptr<float[], Free>;

Floats floats(std::size_t size) {
  Floats p(static_cast<float*>(::operator new[](std::max<std::size_t>(size, 1) * sizeof(float), std::align_val_t{64})));
  for (std::size_t i = 0; i < size; ++i) p[i] = static_cast<float>(i % 17) * 0.05f - 0.4f;
  return p;
}

template <class Body>
double least_seconds(const Body& body) {
  double best = 1e9;
  const double begin = hifigan::thread_seconds();
  for (int round = 0; round < 5 || hifigan::thread_seconds() - begin < 0.12; ++round) {
    const double start = hifigan::thread_seconds();
    body();
    best = std::min(best, hifigan::thread_seconds() - start);
  }
  return best;
}

struct Bench {
  const hifigan::Kernels& kernels;

  // The micro-kernel on operands that stay in the first cache: a direct convolution of one block.
  double ceiling_gflops() const {
    const int channels = 8 * kernels.lanes, rows = 48;
    TimedLayer layer(kernels, channels, 1, 1, rows);
    layer.pack_direct();
    const double seconds = least_seconds([&] {
      for (int i = 0; i < 20; ++i) kernels.conv_direct(layer.args);
    });
    return 20 * 2e-9 * channels * static_cast<double>(channels) * rows / seconds;
  }

  struct TimedLayer {
    TimedLayer(const hifigan::Kernels& k, int channels, int kernel_size, int dilation, Index rows)
        : kernels(k),
          padded(k.padded_channels(channels)),
          weights(floats(static_cast<std::size_t>(channels * channels * kernel_size))) {
      const Index x_rows = rows + (kernel_size - 1) * dilation + 80 * dilation;
      x = floats(static_cast<std::size_t>(x_rows * padded));
      y = floats(static_cast<std::size_t>(rows * padded));
      bias = floats(static_cast<std::size_t>(padded));
      args = {};
      args.x = x.get();
      args.x_stride = padded;
      args.x_rows = x_rows;
      args.activation = {hifigan::ActivationKind::kLeakyRelu, 0.1f};
      args.in_channels = args.out_channels = channels;
      args.kernel_size = kernel_size;
      args.dilation = dilation;
      args.y = y.get();
      args.y_stride = padded;
      args.rows = rows;
      args.epilogue = {bias.get(), nullptr, 0, nullptr, 0, 1.0f, {}};
      args.tuning = &hifigan::tunings().front();
      pack = {};
      pack.weights = weights.get();
      pack.in_channels = pack.out_channels = channels;
      pack.kernel_size = kernel_size;
    }
    void pack_direct() {
      const int c = args.in_channels;
      packed = floats(kernels.direct_weights_size(c, c, args.kernel_size));
      scratch = floats(kernels.direct_scratch_size(c, c, args.kernel_size, args.dilation));
      pack.unit_end = kernels.direct_pack_units(c, c, args.kernel_size);
      pack.out = packed.get();
      kernels.pack_direct(pack);
      args.weights = packed.get();
      args.scratch = scratch.get();
    }
    double pack_tiled(hifigan::Transform transform) {
      const int c = args.in_channels;
      packed = floats(kernels.tiled_weights_size(transform, c, c));
      scratch = floats(kernels.tiled_scratch_size(transform, c, c, hifigan::most_block_bytes()));
      pack.transform = transform;
      pack.unit_end = kernels.tiled_pack_units(transform, c, c);
      pack.out = packed.get();
      const double start = hifigan::thread_seconds();
      kernels.pack_tiled(pack);
      args.weights = packed.get();
      args.scratch = scratch.get();
      return hifigan::thread_seconds() - start;
    }
    const hifigan::Kernels& kernels;
    Index padded;
    Floats weights, x, y, bias, packed, scratch;
    hifigan::ConvArgs args;
    hifigan::PackArgs pack;
  };

  void line(const char* algorithm, const TimedLayer& layer, double products_per_output, double seconds,
            double pack_seconds) const {
    const auto& a = layer.args;
    const double outputs = static_cast<double>(a.rows) * a.in_channels * a.out_channels;
    const double ceiling = ceiling_gflops();
    const double done = 2e-9 * outputs * products_per_output / seconds, direct = 2e-9 * outputs * a.kernel_size / seconds;
    std::printf("%-7s %4d %3d %3d  %-8s %8.1f us %7.0f done (%3.0f %%) %7.0f direct (%4.0f %%)  pack %6.2f ms\n", kernels.name,
                a.in_channels, a.kernel_size, a.dilation, algorithm, seconds * 1e6, done, 100 * done / ceiling, direct,
                100 * direct / ceiling, pack_seconds * 1e3);
    std::fflush(stdout);
  }

  void run(int channels, int kernel_size, int dilation, int only_samples) const {
    // V1's rows per frame: 8 at 256 channels, 64 at 128, 128 at 64, 256 at 32 and below.
    const Index rows = kFrames * (channels >= 256 ? 8 : channels >= 128 ? 64 : channels >= 64 ? 128 : 256);
    TimedLayer layer(kernels, channels, kernel_size, dilation, rows);
    layer.pack_direct();
    if (only_samples == 0) line("direct", layer, kernel_size, least_seconds([&] { kernels.conv_direct(layer.args); }), 0);
    for (int t = 0; t < hifigan::kTransforms; ++t) {
      const auto transform = static_cast<hifigan::Transform>(t);
      const hifigan::TransformShape shape = kernels.transform_shape(transform, kernel_size);
      if (shape.outputs == 0 || (only_samples != 0 && shape.samples != only_samples)) continue;
      const double pack_seconds = layer.pack_tiled(transform);
      const Index per_phase = (rows + dilation - 1) / dilation;
      const Index tiles = dilation * ((per_phase + shape.outputs - 1) / shape.outputs);
      const double seconds = least_seconds([&] { kernels.conv_tiled({layer.args, transform, 0, tiles}); });
      const double per_output = static_cast<double>(tiles * shape.products) / static_cast<double>(rows);
      line(("tile " + std::to_string(shape.samples)).c_str(), layer, per_output, seconds, pack_seconds);
    }
  }
};

}  // namespace

int main(int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : hifigan::supported_isas().back();
  const hifigan::Kernels* kernels = hifigan::find_kernels(name.c_str());
  if (kernels == nullptr) {
    std::fprintf(stderr, "this build has no kernels for %s\n", name.c_str());
    return 1;
  }
  const Bench bench{*kernels};
  std::printf("%s: ceiling of the micro-kernel %.0f GFLOPS on one thread\n", kernels->name, bench.ceiling_gflops());
  if (argc > 2) {
    for (int i = 2; i < argc; ++i) {
      int channels = 0, kernel_size = 3, dilation = 1, samples = 0;
      std::sscanf(argv[i], "%d:%d:%d:%d", &channels, &kernel_size, &dilation, &samples);
      if (channels > 0) bench.run(channels, kernel_size, dilation, samples);
    }
    return 0;
  }
  for (const int channels : {256, 128, 64, 32, 16, 8}) {
    for (const int kernel_size : {3, 5, 7, 11}) {
      for (const int dilation : {1, 3, 5}) bench.run(channels, kernel_size, dilation, 0);
    }
  }
  return 0;
}
