// Intel's tile unit: eight tiles of 1 KB. What lies beside them is AVX-512.
#pragma once

#include "kernels/vec_avx512.h"

namespace hifigan {
namespace amx {
namespace {

using namespace avx512;

HIFIGAN_INLINE Vec min(Vec a, Vec b) { return _mm512_maskz_min_ps(0xffff, a, b); }

HIFIGAN_INLINE __m512i upper_halves() { return _mm512_set1_epi32(static_cast<int>(0xffff0000u)); }

// To bfloat16, half away from zero: it differs from half to even in exact ties alone.
HIFIGAN_INLINE Vec rounded(Vec v) {
  return _mm512_castsi512_ps(
      _mm512_and_si512(_mm512_add_epi32(_mm512_castps_si512(v), _mm512_set1_epi32(0x8000)), upper_halves()));
}
// 16 pairs of bfloat16: the lower halves, and the upper ones.
HIFIGAN_INLINE void load_line(const float* p, Vec& low, Vec& high) {
  const __m512i line = _mm512_castps_si512(load(p));
  low = _mm512_castsi512_ps(_mm512_maskz_slli_epi32(0xffff, line, 16));
  high = _mm512_castsi512_ps(_mm512_and_si512(line, upper_halves()));
}
// Both vectors rounded, as a line.
HIFIGAN_INLINE void store_line(float* p, Vec low, Vec high) {
  const __m512i half = _mm512_set1_epi32(0x8000);
  const __m512i l = _mm512_add_epi32(_mm512_castps_si512(low), half), h = _mm512_add_epi32(_mm512_castps_si512(high), half);
  // (h & upper) | (l >> 16)
  const __m512i line = _mm512_ternarylogic_epi32(_mm512_maskz_srli_epi32(0xffff, l, 16), h, upper_halves(), 0xf8);
  store(p, _mm512_castsi512_ps(line));
}

// A constant, not bytes that a function fills: GCC 12 takes _tile_loadconfig to read 8 of these 64 bytes and may leave out the
// stores of the others.
struct TileConfiguration {
  alignas(64) unsigned char bytes[64] = {};
  constexpr TileConfiguration() {
    bytes[0] = 1;  // the palette of eight tiles
    for (int tile = 0; tile < 8; ++tile) {
      bytes[16 + 2 * tile] = 64;  // bytes of a row
      bytes[48 + tile] = 16;      // rows
    }
  }
};
constexpr TileConfiguration kTileConfiguration;

// Four tiles of sums, [left][right] in the registers 0 to 3, of two left operands (4, 5) and two right ones (6, 7). The
// thread's tiles are configured as long as it lives: nobody's configuration is trusted, and ours is not left, since 8 KB of
// state would be saved at each switch of threads.
class Tiles {
 public:
  Tiles() { _tile_loadconfig(kTileConfiguration.bytes); }
  ~Tiles() { _tile_release(); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;

  HIFIGAN_INLINE void zero() {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  template <int kIndex>
  HIFIGAN_INLINE void load_left(const float* rows, Index stride) {
    if constexpr (kIndex == 0) {
      _tile_loadd(4, rows, stride * 4);
    } else {
      _tile_loadd(5, rows, stride * 4);
    }
  }
  template <int kIndex>
  HIFIGAN_INLINE void load_right(const float* tile, bool past_first) {
    if (past_first) {
      if constexpr (kIndex == 0) {
        _tile_stream_loadd(6, tile, 64);
      } else {
        _tile_stream_loadd(7, tile, 64);
      }
    } else {
      if constexpr (kIndex == 0) {
        _tile_loadd(6, tile, 64);
      } else {
        _tile_loadd(7, tile, 64);
      }
    }
  }
  template <int kLeft, int kRight>
  HIFIGAN_INLINE void multiply() {
    // The numbers of registers have to be written out.
    if constexpr (kLeft == 0 && kRight == 0) {
      _tile_dpbf16ps(0, 4, 6);
    } else if constexpr (kLeft == 0) {
      _tile_dpbf16ps(1, 4, 7);
    } else if constexpr (kRight == 0) {
      _tile_dpbf16ps(2, 5, 6);
    } else {
      _tile_dpbf16ps(3, 5, 7);
    }
  }
  // As [2 vectors][32 rows][16].
  HIFIGAN_INLINE void store(float* to) const {
    _tile_stored(0, to, 64);
    _tile_stored(2, to + 256, 64);
    _tile_stored(1, to + 512, 64);
    _tile_stored(3, to + 768, 64);
  }
};

}  // namespace
}  // namespace amx
}  // namespace hifigan
