// Real FFTs of 8 to 64 points over vectors of channels, fully unrolled; constants folded at compile time.
// Included inside the instruction set's namespace, after its Vec.

constexpr double kPi = 3.14159265358979323846;

// Taylor series, since std::sin is not constexpr; arguments stay below pi / 2, so 14 terms are exact to double.
constexpr double const_sin(double x) {
  double result = x, term = x;
  for (int i = 1; i < 14; ++i) {
    term *= -x * x / ((2 * i) * (2 * i + 1));
    result += term;
  }
  return result;
}
constexpr double const_cos(double x) {
  double result = 1, term = 1;
  for (int i = 1; i < 14; ++i) {
    term *= -x * x / ((2 * i - 1) * (2 * i));
    result += term;
  }
  return result;
}

// Forward transform of N real samples x[S * i]: bins 0 to N / 2 as re and im (im[0] and im[N / 2] are not written).
template <int N, int S>
struct RealFft {
  static HIFIGAN_INLINE void run(const Vec* x, Vec* re, Vec* im) {
    Vec even_re[N / 4 + 1], even_im[N / 4 + 1], odd_re[N / 4 + 1], odd_im[N / 4 + 1];
    RealFft<N / 2, S * 2>::run(x, even_re, even_im);
    RealFft<N / 2, S * 2>::run(x + S, odd_re, odd_im);
    re[0] = add(even_re[0], odd_re[0]);
    re[N / 2] = sub(even_re[0], odd_re[0]);
    re[N / 4] = even_re[N / 4];
    im[N / 4] = sub(zero(), odd_re[N / 4]);
    butterfly<1>(even_re, even_im, odd_re, odd_im, re, im);
  }

  // With the twiddle written as cos * (1 - i tan), or sin * (cot - i) past 45 degrees, a butterfly is six
  // fused operations instead of ten.
  template <int K>
  static HIFIGAN_INLINE void butterfly(const Vec* er, const Vec* ei, const Vec* odd_r, const Vec* odd_i, Vec* re, Vec* im) {
    if constexpr (K < N / 4) {
      constexpr double angle = 2 * kPi * K / N;
      constexpr double c = const_cos(angle), s = const_sin(angle);
      Vec tr, ti, scale;
      if constexpr (8 * K == N) {
        tr = add(odd_i[K], odd_r[K]);
        ti = sub(odd_i[K], odd_r[K]);
        scale = broadcast(static_cast<float>(c));
      } else if constexpr (8 * K < N) {
        const Vec tangent = broadcast(static_cast<float>(s / c));
        tr = fma(tangent, odd_i[K], odd_r[K]);
        ti = fnma(tangent, odd_r[K], odd_i[K]);
        scale = broadcast(static_cast<float>(c));
      } else {
        const Vec cotangent = broadcast(static_cast<float>(c / s));
        tr = fma(cotangent, odd_r[K], odd_i[K]);
        ti = fms(cotangent, odd_i[K], odd_r[K]);
        scale = broadcast(static_cast<float>(s));
      }
      re[K] = fma(scale, tr, er[K]);
      re[N / 2 - K] = fnma(scale, tr, er[K]);
      im[K] = fma(scale, ti, ei[K]);
      im[N / 2 - K] = fms(scale, ti, ei[K]);
      butterfly<K + 1>(er, ei, odd_r, odd_i, re, im);
    }
  }
};
template <int S>
struct RealFft<4, S> {
  static HIFIGAN_INLINE void run(const Vec* x, Vec* re, Vec* im) {
    const Vec even = add(x[0], x[2 * S]), odd = add(x[S], x[3 * S]);
    re[0] = add(even, odd);
    re[1] = sub(x[0], x[2 * S]);
    im[1] = sub(x[3 * S], x[S]);
    re[2] = sub(even, odd);
  }
};

// Inverse transform, unnormalised: bins as above to N real samples x[S * i].
template <int N, int S>
struct RealInverseFft {
  static HIFIGAN_INLINE void run(const Vec* re, const Vec* im, Vec* x) {
    Vec even_re[N / 4 + 1], even_im[N / 4 + 1], odd_re[N / 4 + 1], odd_im[N / 4 + 1];
    even_re[0] = add(re[0], re[N / 2]);
    odd_re[0] = sub(re[0], re[N / 2]);
    even_re[N / 4] = add(re[N / 4], re[N / 4]);
    odd_re[N / 4] = sub(zero(), add(im[N / 4], im[N / 4]));
    butterfly<1>(re, im, even_re, even_im, odd_re, odd_im);
    RealInverseFft<N / 2, S * 2>::run(even_re, even_im, x);
    RealInverseFft<N / 2, S * 2>::run(odd_re, odd_im, x + S);
  }

  template <int K>
  static HIFIGAN_INLINE void butterfly(const Vec* re, const Vec* im, Vec* er, Vec* ei, Vec* odd_r, Vec* odd_i) {
    if constexpr (K < N / 4) {
      constexpr double angle = 2 * kPi * K / N;
      const Vec c = broadcast(static_cast<float>(const_cos(angle)));
      const Vec s = broadcast(static_cast<float>(const_sin(angle)));
      er[K] = add(re[K], re[N / 2 - K]);
      ei[K] = sub(im[K], im[N / 2 - K]);
      const Vec br = sub(re[K], re[N / 2 - K]), bi = add(im[K], im[N / 2 - K]);
      odd_r[K] = fnma(s, bi, mul(c, br));
      odd_i[K] = fma(s, br, mul(c, bi));
      butterfly<K + 1>(re, im, er, ei, odd_r, odd_i);
    }
  }
};
template <int S>
struct RealInverseFft<4, S> {
  static HIFIGAN_INLINE void run(const Vec* re, const Vec* im, Vec* x) {
    const Vec sum = add(re[0], re[2]), difference = sub(re[0], re[2]);
    const Vec two_re = add(re[1], re[1]), two_im = add(im[1], im[1]);
    x[0] = add(sum, two_re);
    x[S] = sub(difference, two_im);
    x[2 * S] = sub(sum, two_re);
    x[3 * S] = add(difference, two_im);
  }
};
