// Compares the software's tiles, bit by bit, with chains of fused multiply-adds and, where it is, with the tile unit; and what lies
// beside them, lines of bfloat16 and the last layer, with AVX-512's.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>

#include "kernels/cpu_features.h"
#include "kernels/kernels.h"
#include "kernels/tile_amx.h"
#include "kernels/tile_software.h"

namespace hifigan {
namespace {

int failures = 0;

void expect(bool good, const char* what) {
  if (!good) std::printf("FAIL %s\n", what);
  failures += !good;
}

struct Numbers {
  alignas(64) float of[32];
};

// Numbers of any exponent, or ties and numbers beside them, or numbers around 1.
Numbers draw(std::mt19937& random, int kind) {
  Numbers numbers;
  for (float& number : numbers.of) {
    std::uint32_t bits = static_cast<std::uint32_t>(random());
    if (kind == 1) bits = (bits & 0xffff0000u) | (0x7fffu + random() % 3);
    if (kind == 2) bits = (bits & 0x807fffffu) | (120 + random() % 16) << 23;
    if ((bits & 0x7f800000u) == 0x7f800000u) bits &= 0xbfffffffu;  // no infinity, no NaN
    std::memcpy(&number, &bits, sizeof number);
  }
  return numbers;
}

float flushed(float value) { return std::fabs(value) < 1.17549435e-38f ? std::copysign(0.0f, value) : value; }

float number_of(std::uint16_t half) {
  const std::uint32_t bits = std::uint32_t{half} << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return flushed(value);
}

// 32 rows of 16 pairs, and 16 pairs of 32 columns, in two tiles each; 32 x 32 sums as Tiles::store has them.
struct Operands {
  alignas(64) std::uint16_t left[2][16][32], right[2][16][32];
};
struct Sums {
  alignas(64) float of[2][32][16];
};

Operands draw_operands(std::mt19937& random, int spread) {
  Operands operands;
  const auto draw_all = [&](std::uint16_t (&tiles)[2][16][32]) {
    for (auto& tile : tiles) {
      for (auto& row : tile) {
        for (std::uint16_t& number : row) {
          const int around = 127 + static_cast<int>(random() % static_cast<unsigned>(spread)) - spread / 2;
          const int exponent = std::max(0, std::min(254, around));
          number = static_cast<std::uint16_t>((random() & 0x8000u) | static_cast<unsigned>(exponent) << 7 | (random() & 0x7fu));
        }
      }
    }
  };
  draw_all(operands.left);
  draw_all(operands.right);
  return operands;
}

// Products added twice, so that the second time there are sums to add to.
template <class Tiles>
Sums multiplied(const Operands& operands) {
  Sums sums;
  Tiles tiles;
  tiles.zero();
  tiles.template load_left<0>(reinterpret_cast<const float*>(operands.left[0]), 16);
  tiles.template load_left<1>(reinterpret_cast<const float*>(operands.left[1]), 16);
  tiles.template load_right<0>(reinterpret_cast<const float*>(operands.right[0]), false);
  tiles.template load_right<1>(reinterpret_cast<const float*>(operands.right[1]), true);
  for (int times = 0; times < 2; ++times) {
    tiles.template multiply<0, 0>();
    tiles.template multiply<0, 1>();
    tiles.template multiply<1, 0>();
    tiles.template multiply<1, 1>();
  }
  tiles.store(&sums.of[0][0][0]);
  return sums;
}

// As the tile unit was measured to do it: see tile_software.h.
Sums by_chains(const Operands& operands) {
  Sums sums;
  for (int half = 0; half < 2; ++half) {
    for (int row = 0; row < 32; ++row) {
      for (int column = 0; column < 16; ++column) {
        float sum = 0;
        for (int time = 0; time < 2; ++time) {
          float chains[2] = {};
          for (int pair = 0; pair < 16; ++pair) {
            for (int e = 0; e < 2; ++e) {
              const float a = number_of(operands.left[row / 16][row % 16][2 * pair + e]);
              const float b = number_of(operands.right[half][pair][2 * column + e]);
              chains[e] = flushed(std::fma(a, b, chains[e]));
            }
          }
          sum = flushed(sum + flushed(chains[0] + chains[1]));
        }
        sums.of[half][row][column] = sum;
      }
    }
  }
  return sums;
}

bool same(const Sums& a, const Sums& b) {
  const float *x = &a.of[0][0][0], *y = &b.of[0][0][0];
  for (int i = 0; i < 1024; ++i) {
    if (std::memcmp(x + i, y + i, sizeof *x) != 0 && !(std::isnan(x[i]) && std::isnan(y[i]))) return false;
  }
  return true;
}

void check_products() {
  const bool unit = why_no_tile_unit(true).empty();
  std::mt19937 random(3);
  for (int trial = 0; trial < 2000; ++trial) {
    const int spreads[] = {2, 30, 120, 254};
    const Operands operands = draw_operands(random, spreads[trial % 4]);
    const Sums software = multiplied<amx_software::Tiles>(operands);
    expect(same(software, by_chains(operands)), "a product of the software's tiles differs from chains");
    if (unit) expect(same(software, multiplied<amx::Tiles>(operands)), "a product of the software's tiles differs from the unit's");
    if (failures) return;
  }
  std::printf("products of tiles: the software's are %s\n",
              unit ? "those of chains and of the tile unit" : "those of chains; there is no tile unit to compare with");
}

bool same(const Numbers& a, const Numbers& b) { return std::memcmp(&a, &b, sizeof a) == 0; }

void check_lines() {
  std::mt19937 random(1);
  for (int trial = 0; trial < 30000; ++trial) {
    const Numbers numbers = draw(random, trial % 3);
    Numbers a{}, b{};
    {
      using namespace amx;
      const Vec low = load(numbers.of), high = load(numbers.of + 16);
      store_line(a.of, low, high);
      Vec l, h;
      load_line(a.of, l, h);
      store(a.of + 16, min(max(sub(low, l), mul(high, h)), add(high, broadcast(0.5f))));
    }
    {
      using namespace amx_software;
      const Vec low = load(numbers.of), high = load(numbers.of + 16);
      store_line(b.of, low, high);
      Vec l, h;
      load_line(b.of, l, h);
      store(b.of + 16, min(max(sub(low, l), mul(high, h)), add(high, broadcast(0.5f))));
    }
    if (!same(a, b)) return expect(false, "a line differs");
  }
}

void check_last_layer() {
  const Kernels &wide = *find_kernels("avx512"), &software = *find_kernels("amx-software", "bfloat16");
  std::mt19937 random(2);
  std::uniform_real_distribution<float> uniform(-2, 2);
  constexpr int kRows = 50, kTaps = 7;
  alignas(64) static float x[(kRows + kTaps) * 32], weights[kTaps * 32], packed[2][kTaps * 32], audio[2][kRows];
  for (const Output output : {Output::kTanh, Output::kClamp, Output::kNone}) {
    for (float& value : x) value = uniform(random);
    for (float& value : weights) value = uniform(random) / 8;
    int index = 0;
    for (const Kernels* kernels : {&wide, &software}) {
      kernels->pack_post({weights, 32, 1, kTaps, 1, Transform::kFft8, packed[index], 0, 1});
      kernels->conv_post({x, 32, kRows + 3, packed[index], 32, kTaps, 0.1f, output, audio[index], kRows, nullptr});
      ++index;
    }
    expect(std::memcmp(audio[0], audio[1], sizeof audio[0]) == 0, "the last layer differs");
  }
}

}  // namespace
}  // namespace hifigan

int main() {
  hifigan::check_products();
  for (const std::string& isa : hifigan::supported_isas()) {
    if (isa != "avx512") continue;
    hifigan::check_lines();
    hifigan::check_last_layer();
    std::printf("lines of bfloat16: %s\n", hifigan::failures ? "different" : "the same bits on avx512 and amx-software");
    return hifigan::failures ? 1 : 0;
  }
  std::printf("lines of bfloat16: not compared, for want of AVX-512\n");
  return hifigan::failures ? 1 : 0;
}
