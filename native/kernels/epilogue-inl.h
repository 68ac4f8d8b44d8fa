// What happens to sums on their way to memory, and to rows on their way in.
// Included inside the instruction set's namespace, after its Vec.

// The leaky ReLU for slopes from 0 to 1, for which it is a maximum.
HIFIGAN_INLINE Vec leaky_relu(Vec v, Vec slope) { return max(v, mul(v, slope)); }

// One vector of columns of the rows first + r * step, r = 0, 1, ...
class EpilogueColumn {
 public:
  HIFIGAN_INLINE EpilogueColumn(const Epilogue& e, Index first, Index step, Index column)
      : residual_(e.residual ? e.residual + first * e.residual_stride + column : nullptr),
        residual_step_(step * e.residual_stride),
        addend_(e.addend ? e.addend + first * e.addend_stride + column : nullptr),
        addend_step_(step * e.addend_stride),
        bias_(load(e.bias + column)),
        scale_(broadcast(e.scale)),
        slope_(broadcast(e.slope)) {}

  HIFIGAN_INLINE Vec apply(Vec v, Index r) const {
    v = add(v, bias_);
    if (residual_) v = add(v, load(residual_ + r * residual_step_));
    if (addend_) v = add(v, load(addend_ + r * addend_step_));
    return leaky_relu(mul(v, scale_), slope_);
  }

 private:
  const float* residual_;
  Index residual_step_;
  const float* addend_;
  Index addend_step_;
  Vec bias_, scale_, slope_;
};

// Copies `count` rows x[r * stride] of `channels` (a multiple of the lanes) for r = first, first + step, ...;
// rows at or behind `limit` count as zero.
void copy_rows(const float* x, Index stride, Index limit, Index first, Index step, int count, int channels, float slope,
               float* out) {
  const Vec s = broadcast(slope);
  for (int i = 0; i < count; ++i) {
    const Index row = first + i * step;
    float* to = out + Index{i} * channels;
    for (int c = 0; c < channels; c += kLanes) {
      store(to + c, row < limit ? leaky_relu(load(x + row * stride + c), s) : zero());
    }
  }
}
