// What checks of kernels share: counted verdicts, random rows that end exactly where they say, and comparing in float64.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <new>
#include <random>
#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace {

using hifigan::Index;

// Direct float32 sums reach 130 dB at these sizes.
constexpr double kFloorDb = 112.0;
constexpr float kCanary = 12345.678f;

// Every order of the loops with the smallest blocks, and blocks of another size.
constexpr Index kMostBlockBytes = 1 << 20;
const std::vector<hifigan::Tuning> kTunings = {{"panels", false, true, 0},
                                               {"products of few tiles", true, true, 1},
                                               {"products", true, false, kMostBlockBytes},
                                               {"products of more tiles", true, true, kMostBlockBytes / 5}};

int failures = 0;
int checks = 0;
double worst_db = 1e9;

std::mt19937 generator(20240607);

float random_value() { return std::uniform_real_distribution<float>(-1.0f, 1.0f)(generator); }

struct Free {
  void operator()(float* p) const { ::operator delete[](p, std::align_val_t{64}); }
};
using Floats = std::unique_ptr<float[], Free>;

// Exactly `size` floats, so that the address sanitizer sees a read behind them.
Floats floats(std::size_t size, float value = 0.0f) {
  Floats p(static_cast<float*>(::operator new[](std::max<std::size_t>(size, 1) * sizeof(float), std::align_val_t{64})));
  std::fill_n(p.get(), size, value);
  return p;
}

std::vector<float> random_weights(std::size_t size, int fan_in) {
  std::vector<float> w(size);
  for (float& v : w) v = random_value() / std::sqrt(static_cast<float>(fan_in));
  return w;
}

Floats random_rows(Index rows, int channels, int padded) {
  Floats x = floats(static_cast<std::size_t>(rows * padded));
  for (Index r = 0; r < rows; ++r) {
    for (int c = 0; c < channels; ++c) x[static_cast<std::size_t>(r * padded + c)] = random_value();
  }
  return x;
}

void report(bool good, const std::string& what, double value) {
  ++checks;
  if (good) return;
  ++failures;
  std::printf("FAIL %s: %g\n", what.c_str(), value);
}

class Compare {
 public:
  void add(double expected, double got) {
    signal_ += expected * expected;
    noise_ += (expected - got) * (expected - got);
  }
  void report_as(const std::string& what, double floor_db) const {
    const double db = noise_ == 0.0 ? 400.0 : 10.0 * std::log10(signal_ / noise_);
    worst_db = std::min(worst_db, db);
    report(signal_ == 0.0 || db >= floor_db, what + " SNR in dB", db);
  }

 private:
  double signal_ = 0.0, noise_ = 0.0;
};

}  // namespace
