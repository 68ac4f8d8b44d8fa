// Every operation of every instruction set that this machine runs, against plain loops in float64.
//
// check_kernels [ISA...]: exits 1 if a result is off, a byte outside the asked rows changes, or bits depend on how the
// work is cut. Build with the address sanitizer to see reads outside the buffers, which end where the interface says.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/cpu_features.h"
#include "kernels/kernels.h"
#include "checking.h"

namespace {

using hifigan::Activation;
using hifigan::ActivationKind;

double activate(double v, Activation activation) {
  switch (activation.kind) {
    case ActivationKind::kNone: return v;
    case ActivationKind::kLeakyRelu: return v > 0.0 ? v : v * static_cast<double>(activation.slope);
  }
  return 0.0;
}

std::string name_of(Activation activation) {
  switch (activation.kind) {
    case ActivationKind::kNone: return "none";
    case ActivationKind::kLeakyRelu: return "leaky " + std::to_string(activation.slope);
  }
  return "";
}

// Every order of the loops with the smallest blocks, and blocks of another size.
constexpr Index kMostBlockBytes = 1 << 20;
const std::vector<hifigan::Tuning> kTunings = {{"panels", false, true, 0},
                                               {"products of few tiles", true, true, 1},
                                               {"products", true, false, kMostBlockBytes},
                                               {"products of more tiles", true, true, kMostBlockBytes / 5}};

struct ConvCase {
  int in_channels, out_channels, kernel_size, dilation;
  Index rows;
  Index x_rows_missing;  // rows at the end that the buffer does not have
  Activation before;
  bool residual, addend;
  float scale;
  Activation behind;
};

std::string name_of(const char* isa, const char* algorithm, const ConvCase& c) {
  char text[256];
  std::snprintf(text, sizeof text, "%s %s in %d out %d k %d d %d rows %td missing %td before %s%s%s scale %g behind %s", isa,
                algorithm, c.in_channels, c.out_channels, c.kernel_size, c.dilation, c.rows, c.x_rows_missing,
                name_of(c.before).c_str(), c.residual ? " residual" : "", c.addend ? " addend" : "",
                static_cast<double>(c.scale), name_of(c.behind).c_str());
  return text;
}

// What one case gives to every algorithm, and what each must make of it.
struct ConvProblem {
  Index x_rows;
  Floats x, addend, residual, bias;
  std::vector<double> expected;  // [rows, out_channels]
};

ConvProblem make_problem(const hifigan::Kernels& kernels, const ConvCase& c, const std::vector<float>& weights) {
  const int in_padded = kernels.padded_channels(c.in_channels), out_padded = kernels.padded_channels(c.out_channels);
  const Index x_rows = std::max<Index>(0, c.rows + Index{c.kernel_size - 1} * c.dilation - c.x_rows_missing);
  ConvProblem p{x_rows,
                random_rows(x_rows, c.in_channels, in_padded),
                random_rows(c.rows, c.out_channels, out_padded),
                random_rows(c.rows, c.out_channels, out_padded),
                random_rows(1, c.out_channels, out_padded),
                std::vector<double>(static_cast<std::size_t>(c.rows * c.out_channels))};
  const auto in_channels = static_cast<std::size_t>(c.in_channels), kernel_size = static_cast<std::size_t>(c.kernel_size);
  // Converted once: an emulator and the sanitizers make each step of the loops below dear.
  std::vector<double> activated(static_cast<std::size_t>(x_rows) * in_channels), ordered(weights.size());
  for (Index r = 0; r < x_rows; ++r) {
    for (int i = 0; i < c.in_channels; ++i) {
      activated[static_cast<std::size_t>(r * c.in_channels + i)] =
          activate(static_cast<double>(p.x[static_cast<std::size_t>(r * in_padded + i)]), c.before);
    }
  }
  for (std::size_t w = 0; w < weights.size(); ++w) {
    const std::size_t tap = w % kernel_size, i = w / kernel_size % in_channels, o = w / kernel_size / in_channels;
    ordered[(o * kernel_size + tap) * in_channels + i] = static_cast<double>(weights[w]);
  }
  for (Index r = 0; r < c.rows; ++r) {
    for (int o = 0; o < c.out_channels; ++o) {
      double sum = static_cast<double>(p.bias[static_cast<std::size_t>(o)]);
      for (int j = 0; j < c.kernel_size; ++j) {
        const Index row = r + Index{j} * c.dilation;
        if (row >= x_rows) continue;
        const double* values = activated.data() + row * c.in_channels;
        const double* taps = ordered.data() + (Index{o} * c.kernel_size + j) * c.in_channels;
        for (int i = 0; i < c.in_channels; ++i) sum += values[i] * taps[i];
      }
      const auto at = static_cast<std::size_t>(r * out_padded + o);
      if (c.residual) sum += static_cast<double>(p.residual[at]);
      if (c.addend) sum += static_cast<double>(p.addend[at]);
      p.expected[static_cast<std::size_t>(r * c.out_channels + o)] =
          activate(sum * static_cast<double>(c.scale), c.behind);
    }
  }
  return p;
}

// `run(args, part, parts)` computes one of `parts` shares of the rows.
template <class Run>
void check_conv_with(const hifigan::Kernels& kernels, const char* algorithm, const ConvCase& c, const ConvProblem& p,
                     const float* packed, std::size_t scratch_size, int parts, const Run& run) {
  const std::string what = name_of(kernels.name, algorithm, c);
  const int in_padded = kernels.padded_channels(c.in_channels), out_padded = kernels.padded_channels(c.out_channels);
  const Floats scratch = floats(scratch_size);

  const auto compute = [&](int shares, const hifigan::Tuning& tuning) {
    // A canary row on either side; with a residual the output is added in place.
    Floats y = floats(static_cast<std::size_t>((c.rows + 2) * out_padded), kCanary);
    if (c.residual) std::copy_n(p.residual.get(), c.rows * out_padded, y.get() + out_padded);
    hifigan::ConvArgs args{};
    args.x = p.x.get();
    args.x_stride = in_padded;
    args.x_rows = p.x_rows;
    args.activation = c.before;
    args.weights = packed;
    args.in_channels = c.in_channels;
    args.out_channels = c.out_channels;
    args.kernel_size = c.kernel_size;
    args.dilation = c.dilation;
    args.y = y.get() + out_padded;
    args.y_stride = out_padded;
    args.rows = c.rows;
    args.epilogue = {p.bias.get(), c.residual ? args.y : nullptr, out_padded, c.addend ? p.addend.get() : nullptr, out_padded,
                     c.scale, c.behind};
    args.tuning = &tuning;
    args.scratch = scratch.get();
    for (int share = shares - 1; share >= 0; --share) run(args, share, shares);
    return y;
  };

  const Floats y = compute(1, kTunings.front());
  Compare compare;
  for (Index r = 0; r < c.rows; ++r) {
    for (int o = 0; o < c.out_channels; ++o) {
      compare.add(p.expected[static_cast<std::size_t>(r * c.out_channels + o)],
                  static_cast<double>(y[static_cast<std::size_t>((r + 1) * out_padded + o)]));
    }
    for (int o = c.out_channels; o < out_padded; ++o) {
      const float v = y[static_cast<std::size_t>((r + 1) * out_padded + o)];
      if (v != 0.0f) report(false, what + " padding not zero", static_cast<double>(v));
    }
  }
  compare.report_as(what, kFloorDb);
  bool canaries = true;
  for (int o = 0; o < out_padded; ++o) {
    canaries = canaries && y[static_cast<std::size_t>(o)] == kCanary &&
               y[static_cast<std::size_t>((c.rows + 1) * out_padded + o)] == kCanary;
  }
  report(canaries, what + " wrote outside its rows", 0);
  const auto same = [&](const Floats& other) {
    return std::memcmp(y.get(), other.get(), static_cast<std::size_t>((c.rows + 2) * out_padded) * sizeof(float)) == 0;
  };
  report(same(compute(parts, kTunings.front())), what + " bits depend on the cut", parts);
  for (const hifigan::Tuning& tuning : kTunings) {
    report(same(compute(1, tuning)), what + " bits depend on the tuning " + tuning.name, 0);
  }
}

void check_conv(const hifigan::Kernels& kernels, const ConvCase& c) {
  const auto count = static_cast<std::size_t>(c.in_channels) * static_cast<std::size_t>(c.out_channels) *
                     static_cast<std::size_t>(c.kernel_size);
  const std::vector<float> weights = random_weights(count, c.in_channels * c.kernel_size);
  const ConvProblem problem = make_problem(kernels, c, weights);
  hifigan::PackArgs pack{};
  pack.weights = weights.data();
  pack.in_channels = c.in_channels;
  pack.out_channels = c.out_channels;
  pack.kernel_size = c.kernel_size;

  {
    const Floats packed = floats(kernels.direct_weights_size(c.in_channels, c.out_channels, c.kernel_size), kCanary);
    pack.out = packed.get();
    const int units = kernels.direct_pack_units(c.in_channels, c.out_channels, c.kernel_size);
    for (int u = units - 1; u >= 0; --u) {
      pack.unit_begin = u;
      pack.unit_end = u + 1;
      kernels.pack_direct(pack);
    }
    check_conv_with(kernels, "direct", c, problem, packed.get(),
                    kernels.direct_scratch_size(c.in_channels, c.out_channels, c.kernel_size, c.dilation), 3,
                    [&](hifigan::ConvArgs args, int share, int shares) {
                      const Index begin = c.rows * share / shares, end = c.rows * (share + 1) / shares;
                      args.x += begin * args.x_stride;
                      args.x_rows -= begin;
                      args.y += begin * args.y_stride;
                      if (args.epilogue.residual) args.epilogue.residual += begin * args.epilogue.residual_stride;
                      if (args.epilogue.addend) args.epilogue.addend += begin * args.epilogue.addend_stride;
                      args.rows = end - begin;
                      kernels.conv_direct(args);
                    });
  }
  for (int t = 0; t < hifigan::kTransforms; ++t) {
    const auto transform = static_cast<hifigan::Transform>(t);
    const hifigan::TransformShape shape = kernels.transform_shape(transform, c.kernel_size);
    if (shape.outputs == 0) continue;
    const Floats packed = floats(kernels.tiled_weights_size(transform, c.in_channels, c.out_channels), kCanary);
    pack.transform = transform;
    pack.out = packed.get();
    const int units = kernels.tiled_pack_units(transform, c.in_channels, c.out_channels);
    for (int u = units - 1; u >= 0; --u) {
      pack.unit_begin = u;
      pack.unit_end = u + 1;
      kernels.pack_tiled(pack);
    }
    const Index per_phase = (c.rows + c.dilation - 1) / c.dilation;
    const Index tiles = c.dilation * ((per_phase + shape.outputs - 1) / shape.outputs);
    const std::string name = "tiled " + std::to_string(shape.samples);
    check_conv_with(kernels, name.c_str(), c, problem, packed.get(),
                    kernels.tiled_scratch_size(transform, c.in_channels, c.out_channels, kMostBlockBytes), 5,
                    [&](const hifigan::ConvArgs& args, int share, int shares) {
                      kernels.conv_tiled({args, transform, tiles * share / shares, tiles * (share + 1) / shares});
                    });
  }
}

void check_transpose(const hifigan::Kernels& kernels, int in_channels, int out_channels, int kernel_size, int stride,
                     Index super_rows, Index skip_before, Index skip_behind, Index x_missing) {
  char what[200];
  std::snprintf(what, sizeof what, "%s transpose in %d out %d k %d stride %d super-rows %td skip %td %td missing %td", kernels.name,
                in_channels, out_channels, kernel_size, stride, super_rows, skip_before, skip_behind, x_missing);
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
  const auto compute = [&](int shares, const hifigan::Tuning& tuning) {
    // Memory begins at row y_begin - 1 and ends with row y_end: both canaries.
    Floats y = floats(static_cast<std::size_t>((y_end - y_begin + 2) * out_padded), kCanary);
    for (int share = 0; share < shares; ++share) {
      const Index begin = super_rows * share / shares, end = super_rows * (share + 1) / shares;
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
      kernels.conv_transpose(args);
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
  compare.report_as(what, kFloorDb);
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
}

void check_post(const hifigan::Kernels& kernels, int in_channels, int kernel_size, Index rows, Index x_missing, float gain) {
  char what[160];
  std::snprintf(what, sizeof what, "%s post in %d k %d rows %td missing %td gain %g", kernels.name, in_channels, kernel_size, rows,
                x_missing, static_cast<double>(gain));
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
  kernels.conv_post({x.get(), padded, x_rows, packed.get(), in_channels, kernel_size, 0.05f, audio.get() + 1, rows, scratch.get()});
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
    const double expected = std::tanh(sum), got = static_cast<double>(audio[static_cast<std::size_t>(r + 1)]);
    compare.add(expected, got);
    worst_relative = std::max(worst_relative, std::fabs(got) - 1.0);
  }
  // A single sum may lie near zero, where the SNR of one sample says little.
  compare.report_as(what, rows == 1 ? kFloorDb - 20.0 : kFloorDb);
  report(worst_relative <= 0.0, std::string(what) + " beyond 1", worst_relative);
  report(audio[0] == kCanary && audio[static_cast<std::size_t>(rows + 1)] == kCanary, std::string(what) + " wrote outside", 0);
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
  check_conv(kernels, {256, 256, 11, 5, 300, 0, leaky, true, false, 1.0f, {}});
  for (const int stride : {1, 2, 3, 4, 8}) {
    for (const int extra : {0, 1, stride}) {
      const int kernel_size = stride + extra;
      for (const Index super_rows : {Index{1}, Index{5}, Index{70}}) {
        check_transpose(kernels, 33, 17, kernel_size, stride, super_rows, 0, 0, 0);
        check_transpose(kernels, 64, 32, kernel_size, stride, super_rows, stride / 2, (stride - 1) / 2, 1);
        check_transpose(kernels, 16, 8, kernel_size, stride, super_rows, stride - 1, 0, 2);
      }
    }
  }
  for (const int in_channels : {1, 8, 16, 32, 40}) {
    for (const Index rows : {Index{1}, Index{15}, Index{16}, Index{33}}) {
      check_post(kernels, in_channels, 7, rows, 0, 1.0f);
      check_post(kernels, in_channels, 7, rows, 4, 8.0f);
      check_post(kernels, in_channels, 3, rows, 0, 0.001f);
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
    std::printf("%-8s %d checks, %d failures, least SNR %.1f dB\n", name.c_str(), checks, failures - failures_before, worst_db);
  }
  return failures == 0 ? 0 : 1;
}
