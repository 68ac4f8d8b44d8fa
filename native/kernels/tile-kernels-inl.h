// The operations of a tile unit in one format: packing, and what tiles-inl.h multiplies. Included once in the file of a tile
// unit, inside its namespace, after tiles-inl.h.

// Calls body with the format of y as a constant.
template <class Body>
void with_format(Format format, const Body& body) {
  switch (format) {
    case Format::kFloat32: return body(std::integral_constant<Format, Format::kFloat32>{});
    case Format::kBfloat16: return body(std::integral_constant<Format, Format::kBfloat16>{});
    case Format::kBfloat16x3: return body(std::integral_constant<Format, Format::kBfloat16x3>{});
    case Format::kBfloat16x6: return body(std::integral_constant<Format, Format::kBfloat16x6>{});
  }
}

inline std::uint32_t bits_of(float value) {
  std::uint32_t bits;
  __builtin_memcpy(&bits, &value, sizeof bits);
  return bits;
}

// Rounded half to even. Weights are finite (they are checked when they are read).
inline float bfloat16_of(float value) {
  std::uint32_t bits = bits_of(value);
  bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u;
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}

// weight(column, channel, tap) of the panels begin .. end - 1.
template <int kSlices, class Weight>
void pack_panels(const PackArgs& args, int taps, const Weight& weight) {
  const int lines = lines_of(args.in_channels);
  auto* out = reinterpret_cast<std::uint16_t*>(args.out + Index{args.unit_begin} * lines * taps * kSlices * 2 * kTileFloats);
  for (int panel = args.unit_begin; panel < args.unit_end; ++panel) {
    for (int line = 0; line < lines; ++line) {
      for (int tap = 0; tap < taps; ++tap) {
        for (int slice = 0; slice < kSlices; ++slice) {
          for (int half = 0; half < 2; ++half) {
            for (int pair = 0; pair < 16; ++pair) {
              for (int column = 0; column < 16; ++column) {
                for (int e = 0; e < 2; ++e) {
                  const int channel = line * kLineChannels + pair + 16 * e;
                  float value = channel < args.in_channels ? weight(panel * kLineChannels + half * 16 + column, channel, tap) : 0.0f;
                  for (int s = 0; s < slice; ++s) value -= bfloat16_of(value);
                  *out++ = static_cast<std::uint16_t>(bits_of(bfloat16_of(value)) >> 16);
                }
              }
            }
          }
        }
      }
    }
  }
}

// Chains of products of numbers between 0.5 and 2, of either sign: with zeros, the clock is a fifth higher.
template <int kSlices>
Index multiply_adds(Index steps, float* sink) {
  alignas(64) std::uint16_t numbers[4][2 * kTileFloats];
  std::uint32_t state = bits_of(sink[0]);
  for (auto& tile : numbers) {
    for (std::uint16_t& number : tile) {
      state = state * 1664525u + 1013904223u;
      number = static_cast<std::uint16_t>(0x3f00u | (state >> 16 & 0x80ffu));
    }
  }
  const auto* tile = reinterpret_cast<const float*>(numbers);
  Tiles tiles;
  tiles.zero();
  tiles.template load_left<0>(tile, kLanes);
  tiles.template load_left<1>(tile + kTileFloats, kLanes);
  tiles.template load_right<0>(tile + 2 * kTileFloats, false);
  tiles.template load_right<1>(tile + 3 * kTileFloats, false);
  for (Index i = 0; i < steps; ++i) multiply_loaded<false, false>(tiles, nullptr, 0, nullptr, false);
  alignas(64) float sums[2 * kUnitRows * kLanes];
  tiles.store(sums);
  for (int lane = 0; lane < kLanes; ++lane) sink[lane] = sums[lane];
  return steps * 4 * 16 * 16 * 32 / (kSlices * (kSlices + 1) / 2);
}

template <int kSlices>
struct TileKernels {
  static void store_row(const float* values, int channels, float* row) {
    for (int line = 0; line < lines_of(channels); ++line) {
      alignas(64) float part[kLineChannels] = {};
      for (int c = 0; c < kLineChannels && line * kLineChannels + c < channels; ++c) part[c] = values[line * kLineChannels + c];
      store_slices<kSlices>(row + Index{line} * kSlices * kLanes, load(part), load(part + kLanes));
    }
  }

  static std::size_t direct_weights_size(int in_channels, int out_channels, int kernel_size) {
    return static_cast<std::size_t>(Index{lines_of(out_channels)} * lines_of(in_channels) * kernel_size * kSlices * 2 *
                                    kTileFloats);
  }
  static int direct_pack_units(int, int out_channels, int) { return lines_of(out_channels); }
  static void pack_direct(const PackArgs& args) {
    pack_panels<kSlices>(args, args.kernel_size, [&](int column, int channel, int tap) {
      return column < args.out_channels
                 ? args.weights[(Index{column} * args.in_channels + channel) * args.kernel_size + tap]
                 : 0.0f;
    });
  }
  static std::size_t direct_scratch_size(int in_channels, int, int kernel_size, int dilation) {
    return tile_scratch_size<kSlices>(in_channels, kernel_size, dilation);
  }
  static void conv_direct(const ConvArgs& args) {
    const Epilogue& e = args.epilogue;
    const TileProduct p = {args.x,        args.x_stride, args.x_rows,   args.activation,
                           lines_of(args.in_channels),   args.kernel_size, args.dilation, args.weights,
                           panels_of(args.columns, lines_of(args.out_channels)), args.rows, args.scratch};
    with_format(e.format, [&](auto format) {
      constexpr Format kOut = decltype(format)::value;
      multiply_units<kSlices, kOut>(p, [&](Index first, Index panel) {
        UnitEpilogue<kSlices, kOut> unit;
        unit.bias = e.bias + panel * kLineChannels;
        if (e.residual) unit.residual = e.residual + first * e.residual_stride + panel * kSlices * kLanes;
        unit.residual_stride = e.residual_stride;
        if (e.addend) unit.addend = e.addend + first * e.addend_stride + panel * kLineChannels;
        unit.addend_stride = e.addend_stride;
        unit.y = args.y + first * args.y_stride + row_floats(kOut, panel * kLineChannels);
        unit.y_stride = args.y_stride;
        unit.end = args.rows - first;
        unit.scale = e.scale;
        unit.slope = slope_of(e.activation);
        unit.inverse = 1.0f / slope_of(e.undone);
        return unit;
      });
    });
  }

  static std::size_t transpose_weights_size(int in_channels, int out_channels, int kernel_size, int stride) {
    return static_cast<std::size_t>(stride) *
           direct_weights_size(in_channels, out_channels, transpose_taps(kernel_size, stride));
  }
  static int transpose_pack_units(int, int out_channels, int, int stride) { return stride * lines_of(out_channels); }
  // Panels are [phase][32 output channels]; tap j of the product is the oldest row first.
  static void pack_transpose(const PackArgs& args) {
    const int taps = transpose_taps(args.kernel_size, args.stride), padded = padded_channels(args.out_channels);
    pack_panels<kSlices>(args, taps, [&](int column, int channel, int j) {
      const int out = column % padded, tap = column / padded + (taps - 1 - j) * args.stride;
      return out < args.out_channels && tap < args.kernel_size
                 ? args.weights[(Index{channel} * args.out_channels + out) * args.kernel_size + tap]
                 : 0.0f;
    });
  }
  static std::size_t transpose_scratch_size(int in_channels, int, int kernel_size, int stride) {
    return tile_scratch_size<kSlices>(in_channels, transpose_taps(kernel_size, stride), 1);
  }
  static void conv_transpose(const ConvTransposeArgs& args) {
    const Index out_lines = lines_of(args.out_channels), stride = args.stride;
    const TileProduct p = {args.x,         args.x_stride, args.x_rows, {}, lines_of(args.in_channels),
                           transpose_taps(args.kernel_size, args.stride), 1, args.weights,
                           panels_of(args.columns, stride * out_lines), args.super_rows, args.scratch};
    with_format(args.format, [&](auto format) {
      constexpr Format kOut = decltype(format)::value;
      multiply_units<kSlices, kOut>(p, [&](Index first, Index panel) {
        const Index line = panel % out_lines, row = first * stride + panel / out_lines;
        // Rows of the unit from which on, and before which, output rows are to be written.
        const auto unit_row = [&](Index y_row) { return y_row <= row ? Index{0} : (y_row - row + stride - 1) / stride; };
        const Index left = args.super_rows - first, end = unit_row(args.y_end);
        UnitEpilogue<kSlices, kOut> unit;
        unit.bias = args.bias + line * kLineChannels;
        unit.y = args.y + row * args.y_stride + row_floats(kOut, line * kLineChannels);
        unit.y_stride = stride * args.y_stride;
        unit.begin = unit_row(args.y_begin);
        unit.end = end < left ? end : left;
        unit.slope = slope_of(args.activation);
        return unit;
      });
    });
  }

  static constexpr Kernels table(const char* name, const Costs& costs, const Kernels* finer) {
    return {name,
            kLanes,
            kLineChannels,
            static_cast<Format>(kSlices),
            kTilePieces,
            costs,
            kTileCaches,
            nullptr,
            0,
            finer,
            padded_channels,
            store_row,
            transform_shape,
            nullptr,
            nullptr,
            nullptr,
            nullptr,
            nullptr,
            direct_weights_size,
            direct_pack_units,
            pack_direct,
            direct_scratch_size,
            conv_direct,
            transpose_weights_size,
            transpose_pack_units,
            pack_transpose,
            transpose_scratch_size,
            conv_transpose,
            post_weights_size,
            pack_post,
            post_scratch_size,
            conv_post,
            gate,
            multiply_adds<kSlices>};
  }
};
