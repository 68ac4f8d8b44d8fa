// The table of one instruction set. Included last inside its namespace; HIFIGAN_ISA is its name as a word.

namespace {

// Calls body with the Of<N> of a transform.
template <template <int> class Of = Spectral, class Body>
HIFIGAN_INLINE void with_samples(Transform transform, const Body& body) {
  switch (transform) {
    case Transform::kFft8: body(Of<8>{}); break;
    case Transform::kFft16: body(Of<16>{}); break;
    case Transform::kFft32: body(Of<32>{}); break;
    case Transform::kFft64: body(Of<64>{}); break;
  }
}

TransformShape transform_shape(Transform transform, int kernel_size) {
  TransformShape shape = {0, 0, 0, 0};
  with_samples(transform, [&](auto spectral) { shape = spectral.shape(kernel_size); });
  return shape;
}

std::size_t tiled_weights_size(Transform transform, int in_channels, int out_channels) {
  std::size_t size = 0;
  with_samples(transform, [&](auto spectral) { size = spectral.weights_size(in_channels, out_channels); });
  return size;
}

int tiled_pack_units(Transform, int, int out_channels) { return round_up_to_lanes(out_channels) / kLanes; }

void pack_tiled(const PackArgs& args) {
  with_samples(args.transform, [&](auto spectral) { spectral.pack(args); });
}

std::size_t tiled_scratch_size(Transform transform, int in_channels, int out_channels, Index block_bytes) {
  std::size_t size = 0;
  with_samples(transform, [&](auto spectral) { size = spectral.scratch_size(in_channels, out_channels, block_bytes); });
  return size;
}

void conv_tiled(const TiledConvArgs& args) {
  with_samples(args.transform, [&](auto spectral) { spectral.conv(args); });
}

int padded_channels(int channels) { return round_up_to_lanes(channels); }

void store_row(const float* values, int channels, float* row) {
  for (int c = 0; c < round_up_to_lanes(channels); ++c) row[c] = c < channels ? values[c] : 0.0f;
}

}  // namespace

#define HIFIGAN_TEXT_OF(word) #word
#define HIFIGAN_TEXT(word) HIFIGAN_TEXT_OF(word)

extern const Kernels kKernels;
const Kernels kKernels = {
    HIFIGAN_TEXT(HIFIGAN_ISA), kLanes,
    kPanel,                    Format::kFloat32,
    kVectorPieces,             kCosts,
    kCaches,                   kNarrower,
    kNarrowerChannels,         nullptr,
    padded_channels,           store_row,
    transform_shape,           tiled_weights_size,
    tiled_pack_units,          pack_tiled,
    tiled_scratch_size,        conv_tiled,
    direct_weights_size,       direct_pack_units,
    pack_direct,               direct_scratch_size,
    conv_direct,               transpose_weights_size,
    transpose_pack_units,      pack_transpose,
    transpose_scratch_size,    conv_transpose,
    post_weights_size,         pack_post,
    post_scratch_size,         conv_post,
    gate,                      multiply_adds,
};
