// Matrix products of any number of rows: cut into parts, each with the micro-kernel for its height.
// Included inside the instruction set's namespace, after micro-kernels-inl.h.

template <class MicroKernel, int Vectors, int Rows>
typename MicroKernel::Function micro_kernel_for(int rows) {
  if constexpr (Rows == 0) {
    return nullptr;
  } else {
    return rows == Rows ? MicroKernel::template run<Rows, Vectors> : micro_kernel_for<MicroKernel, Vectors, Rows - 1>(rows);
  }
}

// `rows` rows cut into parts of nearly equal height, each with its micro-kernel.
template <template <bool> class MicroKernel>
class RowParts {
 public:
  RowParts(int rows, int vectors, bool past_second)
      : parts_((rows + most_rows(vectors) - 1) / most_rows(vectors)),
        height_(rows / parts_),
        taller_(rows % parts_),
        width_(Index{vectors} * kLanes),
        low_(kernel(height_, vectors, past_second)),
        tall_(taller_ ? kernel(height_ + 1, vectors, past_second) : low_) {}

  // Calls body(first row, micro-kernel, what it fetches) for each part; `next` are the weights to come, `depth` the number of k, and
  // `other` what may be fetched beside them.
  template <class Body>
  HIFIGAN_INLINE void each(const float* next, Index depth, const Stretch& other, const Body& body) const {
    // Each part fetches its share.
    const Index step = (width_ + parts_ - 1) / parts_;
    const Stretch second = {next + (width_ > kLineFloats ? kLineFloats : 0), step};
    // One line of weights per k is not enough for one part: then nothing else is fetched.
    Fetch fetch = {{next, step}, other.at && parts_ > 1 ? other : second};
    int row = 0;
    for (int part = 0; part < parts_; ++part) {
      const bool is_tall = part < taller_;
      Fetch to_come = fetch;
      body(row, is_tall ? tall_ : low_, to_come);
      row += is_tall ? height_ + 1 : height_;
      fetch.weights.at += fetch.weights.step * depth;
      fetch.other.at += fetch.other.step * depth;
    }
  }

  // How many k run with fetching in all parts, of so many for one.
  Index fetching(Index depth) const { return parts_ * depth; }

 private:
  using Function = typename MicroKernel<true>::Function;

  static Function kernel(int rows, int vectors, bool past_second) {
    return past_second ? kernel_of<MicroKernel<true>>(rows, vectors) : kernel_of<MicroKernel<false>>(rows, vectors);
  }

  template <class Kernel>
  static Function kernel_of(int rows, int vectors) {
    static_assert(kPanelVectors == 2, "a third width needs a third case");
    return vectors == 2 ? micro_kernel_for<Kernel, 2, kMaxRows>(rows) : micro_kernel_for<Kernel, 1, kMostNarrowRows>(rows);
  }

  int parts_, height_, taller_;
  Index width_;
  Function low_, tall_;
};

// Any number of rows times a panel. DenseRows: see accumulate.
template <bool DenseRows>
class Product {
 public:
  Product(int rows, int vectors, bool past_second) : parts_(rows, vectors, past_second) {}

  // How many k fetch, in a product of so many.
  Index fetching(Index depth) const { return parts_.fetching(depth); }

  HIFIGAN_INLINE void run(const LeftMatrix& a, const float* b, const float* next, const Stretch& other, float* c) const {
    const Index row_stride = DenseRows ? Index{kLanes} : a.row_stride;
    const Index depth = Index{a.taps} * a.groups * kLanes;
    parts_.each(next, depth, other, [&](int row, auto micro_kernel, Fetch& fetch) {
      LeftMatrix part = a;
      part.data += row * row_stride;
      micro_kernel(part, b, fetch, c + row * kPanel);
    });
  }

 private:
  template <bool PastSecond>
  using MicroKernel = OneProduct<PastSecond, DenseRows>;

  RowParts<MicroKernel> parts_;
};

// The three products of a complex bin.
class BinProduct {
 public:
  BinProduct(int rows, int vectors, bool past_second) : parts_(rows, vectors, past_second) {}

  HIFIGAN_INLINE void run(const LeftMatrix& a1, Index a_plane, const float* a0, const float* b, const float* next,
                          const Stretch& other, float* c1, float* c2) const {
    parts_.each(next, 2 * Index{a1.groups} * kLanes, other, [&](int row, auto micro_kernel, Fetch& fetch) {
      LeftMatrix part = a1;
      part.data += row * kLanes;
      micro_kernel(part, a_plane, a0 + row * kLanes, b, fetch, c1 + row * kPanel, c2 + row * kPanel);
    });
  }

 private:
  RowParts<ThreeProducts> parts_;
};

// The four products of Winograd's F(3, 2).
class WinogradProduct {
 public:
  WinogradProduct(int rows, int vectors, bool past_second) : parts_(rows, vectors, past_second) {}

  Index fetching(Index depth) const { return parts_.fetching(depth); }

  HIFIGAN_INLINE void run(const LeftMatrix& a, Index a_plane, const float* b, const float* next, const Stretch& other, float* c,
                          Index c_plane) const {
    parts_.each(next, 2 * Index{a.groups} * kLanes, other, [&](int row, auto micro_kernel, Fetch& fetch) {
      LeftMatrix part = a;
      part.data += row * kLanes;
      micro_kernel(part, a_plane, b, fetch, c + row * kPanel, c_plane);
    });
  }

 private:
  RowParts<FourProducts> parts_;
};
