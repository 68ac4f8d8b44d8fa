// What happens to sums on their way to memory, and to rows on their way in.
// Included inside the instruction set's namespace, after its Vec.

// Calls body with a function of a Vec: the activation. Callers hoist this out of their loops, so that each case has loops of
// its own. No activation is the leaky ReLU with slope 1: the same bits, and less code for a short call to find cold.
template <class Body>
HIFIGAN_INLINE void with_activation(Activation activation, const Body& body) {
  switch (activation.kind) {
    case ActivationKind::kNone:
    case ActivationKind::kLeakyRelu: {
      // For slopes from 0 to 1 it is a maximum.
      const Vec slope = broadcast(activation.kind == ActivationKind::kNone ? 1.0f : activation.slope);
      return body([slope](Vec v) __attribute__((always_inline)) { return max(v, mul(v, slope)); });
    }
  }
}

// One vector of columns of the rows first + r * step, r = 0, 1, ...
class EpilogueColumn {
 public:
  HIFIGAN_INLINE EpilogueColumn(const Epilogue& e, Index first, Index step, Index column)
      : residual_(e.residual ? e.residual + first * e.residual_stride + column : nullptr),
        residual_step_(step * e.residual_stride),
        addend_(e.addend ? e.addend + first * e.addend_stride + column : nullptr),
        addend_step_(step * e.addend_stride),
        bias_(load(e.bias + column)),
        scale_(broadcast(e.scale)) {}

  template <class Activate>
  HIFIGAN_INLINE Vec apply(Vec v, Index r, const Activate& activate) const {
    v = add(v, bias_);
    if (residual_) v = add(v, load(residual_ + r * residual_step_));
    if (addend_) v = add(v, load(addend_ + r * addend_step_));
    return activate(mul(v, scale_));
  }

 private:
  const float* residual_;
  Index residual_step_;
  const float* addend_;
  Index addend_step_;
  Vec bias_, scale_;
};

// Copies `count` rows x[r * stride] of `channels` (a multiple of the lanes) for r = first, first + step, ...;
// rows at or behind `limit` count as zero. Vectors of a row become `group_step` floats apart, rows `row_step`.
void copy_rows(const float* x, Index stride, Index limit, Index first, Index step, int count, int channels,
               Activation activation, float* out, Index row_step, Index group_step) {
  with_activation(activation, [&](const auto& activate) {
    for (int i = 0; i < count; ++i) {
      const Index row = first + i * step;
      float* to = out + i * row_step;
      for (int c = 0; c < channels; c += kLanes, to += group_step) {
        store(to, row < limit ? activate(load(x + row * stride + c)) : zero());
      }
    }
  });
}
