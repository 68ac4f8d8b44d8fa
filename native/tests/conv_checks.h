// Convolutions, direct and by every transform, against plain loops in float64.
#pragma once

#include <cstdio>
#include <cstring>

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

struct ConvCase {
  int in_channels, out_channels, kernel_size, dilation;
  Index rows;
  Index x_rows_missing;  // rows at the end that the buffer does not have
  Activation before;
  bool residual, addend;
  float scale;
  Activation behind;
  double floor_db = kFloorDb;
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

// All columns, or one panel after the other from the last one on.
std::vector<hifigan::Columns> columns_of(const hifigan::Kernels& kernels, int padded, bool by_panels) {
  if (!by_panels || kernels.panel == 0) return {{}};
  std::vector<hifigan::Columns> all;
  for (int begin = (padded - 1) / kernels.panel * kernels.panel; begin >= 0; begin -= kernels.panel) {
    all.push_back({begin, std::min(begin + kernels.panel, padded)});
  }
  return all;
}

// `run(args, part, parts)` computes one of `parts` shares of the rows.
template <class Run>
void check_conv_with(const hifigan::Kernels& kernels, const char* algorithm, const ConvCase& c, const ConvProblem& p,
                     const float* packed, std::size_t scratch_size, int parts, const Run& run) {
  const std::string what = name_of(kernels.name, algorithm, c);
  const int in_padded = kernels.padded_channels(c.in_channels), out_padded = kernels.padded_channels(c.out_channels);
  const Floats scratch = floats(scratch_size);

  const auto compute = [&](int shares, const hifigan::Tuning& tuning, bool by_panels = false) {
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
    for (const hifigan::Columns& columns : columns_of(kernels, out_padded, by_panels)) {
      args.columns = columns;
      for (int share = shares - 1; share >= 0; --share) run(args, share, shares);
    }
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
  compare.report_as(what, c.floor_db);
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
    report(same(compute(parts, tuning, true)), what + " bits depend on the cut by panels " + tuning.name, parts);
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

}  // namespace
