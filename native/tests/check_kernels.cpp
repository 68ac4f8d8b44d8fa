// Every operation of every instruction set that this machine runs, against plain loops in float64.
//
// check_kernels [ISA...]: exits 1 if a result is off, a byte outside the asked rows changes, or bits depend on how the
// work is cut. Build with the address sanitizer to see reads outside the buffers, which end where the interface says.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "conv_checks.h"
#include "kernels/cpu_features.h"

namespace {

void check_transpose(const hifigan::Kernels& kernels, int in_channels, int out_channels, int kernel_size, int stride,
                     Index super_rows, Index skip_before, Index skip_behind, Index x_missing, bool winograd,
                     double floor_db = kFloorDb) {
  char what[200];
  std::snprintf(what, sizeof what, "%s %s in %d out %d k %d stride %d super-rows %td skip %td %td missing %td", kernels.name,
                winograd ? "winograd" : "transpose", in_channels, out_channels, kernel_size, stride, super_rows, skip_before,
                skip_behind, x_missing);
  const int taps = (kernel_size + stride - 1) / stride;
  const auto count = static_cast<std::size_t>(in_channels) * static_cast<std::size_t>(out_channels) *
                     static_cast<std::size_t>(kernel_size);
  const std::vector<float> weights = random_weights(count, in_channels * taps);
  const int in_padded = kernels.padded_channels(in_channels), out_padded = kernels.padded_channels(out_channels);
  const Floats packed = floats(kernels.transpose_weights_size(in_channels, out_channels, kernel_size, stride), kCanary);
  hifigan::PackArgs pack{};
  pack.weights = weights.data();
  pack.in_channels = in_channels;
  pack.out_channels = out_channels;
  pack.kernel_size = kernel_size;
  pack.stride = stride;
  pack.out = packed.get();
  const int units = kernels.transpose_pack_units(in_channels, out_channels, kernel_size, stride);
  for (int u = 0; u < units; ++u) {
    pack.unit_begin = u;
    pack.unit_end = u + 1;
    kernels.pack_transpose(pack);
  }
  const Index x_rows = std::max<Index>(0, super_rows + taps - 1 - x_missing);
  const Floats x = random_rows(x_rows, in_channels, in_padded);
  const Floats bias = random_rows(1, out_channels, out_padded);
  const Index y_begin = skip_before, y_end = super_rows * stride - skip_behind;
  const Floats scratch = floats(kernels.transpose_scratch_size(in_channels, out_channels, kernel_size, stride));
  const auto compute = [&](int shares, const hifigan::Tuning& tuning, bool by_panels = false) {
    // Memory begins at row y_begin - 1 and ends with row y_end: both canaries.
    Floats y = floats(static_cast<std::size_t>((y_end - y_begin + 2) * out_padded), kCanary);
    for (int share = 0; share < shares; ++share) {
      const auto cut = [&](int at) {
        const Index row = super_rows * at / shares;
        return winograd && at < shares ? row / hifigan::kWinogradRows * hifigan::kWinogradRows : row;
      };
      const Index begin = cut(share), end = cut(share + 1);
      hifigan::ConvTransposeArgs args{};
      args.x = x.get() + begin * in_padded;
      args.x_stride = in_padded;
      args.x_rows = x_rows - begin;
      args.weights = packed.get();
      args.in_channels = in_channels;
      args.out_channels = out_channels;
      args.kernel_size = kernel_size;
      args.stride = stride;
      args.y = y.get() + (begin * stride - y_begin + 1) * out_padded;
      args.y_stride = out_padded;
      args.super_rows = end - begin;
      args.y_begin = y_begin - begin * stride;
      args.y_end = y_end - begin * stride;
      args.bias = bias.get();
      args.tuning = &tuning;
      args.scratch = scratch.get();
      args.winograd = winograd;
      for (const hifigan::Columns& columns : columns_of(kernels, stride * out_padded, by_panels)) {
        args.columns = columns;
        kernels.conv_transpose(args);
      }
    }
    return y;
  };
  const Floats y = compute(1, kTunings.front());
  Compare compare;
  for (Index row = y_begin; row < y_end; ++row) {
    const Index q = row / stride, phase = row % stride;
    for (int o = 0; o < out_channels; ++o) {
      double sum = static_cast<double>(bias[static_cast<std::size_t>(o)]);
      for (Index a = 0; a < taps; ++a) {
        const Index from = q + taps - 1 - a, tap = phase + a * stride;
        if (from >= x_rows || tap >= kernel_size) continue;
        for (int i = 0; i < in_channels; ++i) {
          sum += static_cast<double>(x[static_cast<std::size_t>(from * in_padded + i)]) *
                 static_cast<double>(weights[static_cast<std::size_t>((Index{i} * out_channels + o) * kernel_size + tap)]);
        }
      }
      compare.add(sum, static_cast<double>(y[static_cast<std::size_t>((row - y_begin + 1) * out_padded + o)]));
    }
  }
  compare.report_as(what, floor_db);
  bool canaries = true;
  for (int o = 0; o < out_padded; ++o) {
    canaries = canaries && y[static_cast<std::size_t>(o)] == kCanary &&
               y[static_cast<std::size_t>((y_end - y_begin + 1) * out_padded + o)] == kCanary;
  }
  report(canaries, std::string(what) + " wrote outside its rows", 0);
  const auto same = [&](const Floats& other) {
    return std::memcmp(y.get(), other.get(), static_cast<std::size_t>((y_end - y_begin + 2) * out_padded) * sizeof(float)) == 0;
  };
  report(same(compute(3, kTunings.front())), std::string(what) + " bits depend on the cut", 0);
  report(same(compute(1, kTunings.back())), std::string(what) + " bits depend on the tuning", 0);
  report(same(compute(3, kTunings.front(), true)), std::string(what) + " bits depend on the cut by panels", 0);
}

void check_post(const hifigan::Kernels& kernels, int in_channels, int kernel_size, Index rows, Index x_missing, float gain,
                hifigan::Output output) {
  char what[160];
  std::snprintf(what, sizeof what, "%s post in %d k %d rows %td missing %td gain %g output %d", kernels.name, in_channels,
                kernel_size, rows, x_missing, static_cast<double>(gain), static_cast<int>(output));
  std::vector<float> weights = random_weights(static_cast<std::size_t>(in_channels * kernel_size), in_channels * kernel_size);
  for (float& w : weights) w *= gain;
  const Floats packed = floats(kernels.post_weights_size(in_channels, kernel_size));
  hifigan::PackArgs pack{};
  pack.weights = weights.data();
  pack.in_channels = in_channels;
  pack.out_channels = 1;
  pack.kernel_size = kernel_size;
  pack.out = packed.get();
  kernels.pack_post(pack);
  const int padded = kernels.padded_channels(in_channels);
  const Index x_rows = std::max<Index>(0, rows + kernel_size - 1 - x_missing);
  const Floats x = random_rows(x_rows, in_channels, padded);
  const Floats audio = floats(static_cast<std::size_t>(rows + 2), kCanary);
  const Floats scratch = floats(kernels.post_scratch_size(in_channels, kernel_size));
  kernels.conv_post({x.get(), padded, x_rows, packed.get(), in_channels, kernel_size, 0.05f, output, audio.get() + 1, rows,
                     scratch.get()});
  Compare compare;
  double worst_relative = 0.0;
  for (Index r = 0; r < rows; ++r) {
    double sum = static_cast<double>(0.05f);
    for (int j = 0; j < kernel_size && r + j < x_rows; ++j) {
      for (int i = 0; i < in_channels; ++i) {
        sum += static_cast<double>(x[static_cast<std::size_t>((r + j) * padded + i)]) *
               static_cast<double>(weights[static_cast<std::size_t>(i * kernel_size + j)]);
      }
    }
    const double got = static_cast<double>(audio[static_cast<std::size_t>(r + 1)]);
    switch (output) {
      case hifigan::Output::kTanh: compare.add(std::tanh(sum), got); break;
      case hifigan::Output::kClamp: compare.add(std::clamp(sum, -1.0, 1.0), got); break;
      case hifigan::Output::kNone: compare.add(sum, got); continue;
    }
    worst_relative = std::max(worst_relative, std::fabs(got) - 1.0);
  }
  // A single sum may lie near zero, where the SNR of one sample says little.
  compare.report_as(what, rows == 1 ? kFloorDb - 20.0 : kFloorDb);
  report(worst_relative <= 0.0, std::string(what) + " beyond 1", worst_relative);
  report(audio[0] == kCanary && audio[static_cast<std::size_t>(rows + 1)] == kCanary, std::string(what) + " wrote outside", 0);
}

void check_gate(const hifigan::Kernels& kernels, int channels, Index rows, float gain) {
  char what[120];
  std::snprintf(what, sizeof what, "%s gate of %d channels rows %td gain %g", kernels.name, channels, rows,
                static_cast<double>(gain));
  const int padded = kernels.padded_channels(channels), stride = kernels.padded_channels(2 * channels);
  const Floats x = random_rows(rows, 2 * channels, stride), y = floats(static_cast<std::size_t>(rows * stride));
  for (Index i = 0; i < rows * stride; ++i) y[static_cast<std::size_t>(i)] = x[static_cast<std::size_t>(i)] *= gain;
  kernels.gate({y.get(), stride, rows, channels});
  Compare compare;
  bool padding = true;
  for (Index r = 0; r < rows; ++r) {
    for (int c = 0; c < padded; ++c) {
      const double got = static_cast<double>(y[static_cast<std::size_t>(r * stride + c)]);
      if (c >= channels) {
        padding = padding && got == 0.0;
        continue;
      }
      const double a = static_cast<double>(x[static_cast<std::size_t>(r * stride + c)]);
      const double b = static_cast<double>(x[static_cast<std::size_t>(r * stride + channels + c)]);
      compare.add(std::tanh(a) / (1.0 + std::exp(-b)), got);
    }
  }
  if (gain > 1.0f) compare.add(1.0, 1.0);  // the full range: of few values all may be tiny
  compare.report_as(what, kFloorDb);
  report(padding, std::string(what) + " leaves something in the padding", 0);
}

void check_isa(const hifigan::Kernels& kernels) {
  const int channels[][2] = {{16, 16}, {32, 32}, {64, 64}, {8, 8}, {5, 7}, {48, 48}, {80, 96}, {1, 3}, {33, 17}};
  const Activation leaky{ActivationKind::kLeakyRelu, 0.1f};
  int turn = 0;
  for (const auto& pair : channels) {
    for (const int kernel_size : {1, 2, 3, 5, 7, 11, 13}) {
      for (const int dilation : {1, 3, 5, 12}) {
        // Lengths around the tiles and the blocks take turns.
        const Index lengths[] = {1, 2, 17, 64, 131, 500, 3, 23, 1000, 16};
        const int i = turn++;
        ConvCase c{pair[0], pair[1], kernel_size, dilation, lengths[i % 10], 0, i % 3 == 0 ? Activation{} : leaky, i % 2 == 1,
                   i % 5 == 3, i % 4 == 2 ? 1.0f / 3.0f : 1.0f, i % 3 == 1 ? leaky : Activation{}};
        if (i % 3 == 2) c.x_rows_missing = 1 + i % 40;
        check_conv(kernels, c);
      }
    }
  }
  // Sums of one chain have 139 dB.
  check_conv(kernels, {256, 256, 11, 5, 300, 0, leaky, true, false, 1.0f, {}, 140.0});
  for (const int stride : {1, 2, 3, 4, 8}) {
    for (const int extra : {0, 1, stride}) {
      const int kernel_size = stride + extra;
      for (const Index super_rows : {Index{1}, Index{5}, Index{70}, Index{180}}) {
        for (const bool winograd : {false, true}) {
          if (winograd && (kernel_size <= stride || kernel_size > 2 * stride)) continue;
          check_transpose(kernels, 33, 17, kernel_size, stride, super_rows, 0, 0, 0, winograd);
          check_transpose(kernels, 64, 32, kernel_size, stride, super_rows, stride / 2, (stride - 1) / 2, 1, winograd);
          check_transpose(kernels, 16, 8, kernel_size, stride, super_rows, stride - 1, 0, 2, winograd);
        }
      }
    }
  }
  for (const int gated : {1, 3, 8, 16, 21, 40, 192}) {
    for (const float gain : {0.01f, 1.0f, 50.0f}) check_gate(kernels, gated, 1 + gated % 5, gain);
  }
  for (const int in_channels : {1, 8, 16, 32, 40}) {
    for (const Index rows : {Index{1}, Index{15}, Index{16}, Index{33}}) {
      using hifigan::Output;
      check_post(kernels, in_channels, 7, rows, 0, 1.0f, Output::kTanh);
      check_post(kernels, in_channels, 7, rows, 4, 8.0f, Output::kTanh);
      check_post(kernels, in_channels, 3, rows, 0, 0.001f, Output::kTanh);
      if (rows == 1) continue;
      check_post(kernels, in_channels, 1, rows, 0, 8.0f, Output::kClamp);
      check_post(kernels, in_channels, 4, rows, 2, 8.0f, Output::kNone);
    }
  }
  // Sums of one chain have 130 to 132 dB.
  for (const bool winograd : {false, true}) check_transpose(kernels, 512, 24, 16, 8, 40, 4, 4, 1, winograd, 137.0);
}

// What an ISA uses for layers of few channels: tiles, and blocks of them, that are whole, cut off and alone.
void check_narrow(const hifigan::Kernels& kernels) {
  const int channels[][2] = {{8, 8}, {5, 7}, {1, 3}, {8, 1}, {33, 8}};
  const Activation leaky{ActivationKind::kLeakyRelu, 0.1f};
  const Index lengths[] = {1, 383, 385, 64, 1000, 16, 448, 2000, 27};
  int turn = 0;
  for (const auto& pair : channels) {
    for (const int kernel_size : {3, 4, 7, 11}) {
      for (const int dilation : {1, 3, 5, 40}) {
        for (int j = 0; j < 3; ++j) {
          const int i = turn++;
          ConvCase c{pair[0], pair[1], kernel_size, dilation, lengths[i % 9], 0, i % 2 == 0 ? leaky : Activation{}, i % 3 == 1,
                     i % 5 == 3, i % 4 == 2 ? 1.0f / 3.0f : 1.0f, i % 7 < 3 ? leaky : Activation{}};
          if (i % 4 == 3) c.x_rows_missing = 1 + i * 7 % 500;
          check_conv(kernels, c);
        }
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> names = hifigan::supported_isas();
  if (argc > 1) names.assign(argv + 1, argv + argc);
  for (const std::string& name : names) {
    const hifigan::Kernels* kernels = hifigan::find_kernels(name.c_str());
    if (kernels == nullptr) {
      std::printf("FAIL this build has no kernels for %s\n", name.c_str());
      return 1;
    }
    checks = 0;
    worst_db = 1e9;
    const int failures_before = failures;
    check_isa(*kernels);
    if (kernels->narrower) check_narrow(*kernels->narrower);
    std::printf("%-8s %d checks, %d failures, least SNR %.1f dB\n", name.c_str(), checks, failures - failures_before, worst_db);
  }
  return failures == 0 ? 0 : 1;
}
