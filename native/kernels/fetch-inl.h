// Where the rows of tiles lie, and fetching of those that a block will write and add, into the caches while its products run.
// Included inside the instruction set's namespace, after product-inl.h.

// Rows of one tile after the other: `outputs` rows of one phase, the next phase's, and behind the last phase the first one's again.
// Counted on, since for narrow layers a division for each tile takes 2 % of their time.
class TileRows {
 public:
  TileRows(Index tile, int outputs, Index dilation)
      : outputs_(outputs), dilation_(dilation), phase_(tile % dilation), base_(tile / dilation * outputs * dilation) {}

  Index first() const { return base_ + phase_; }

  // How many of them lie before `end`.
  int before(Index end) const {
    if (first() + (outputs_ - 1) * dilation_ < end) return outputs_;
    return first() < end ? static_cast<int>((end - first() + dilation_ - 1) / dilation_) : 0;
  }

  void next() {
    if (++phase_ < dilation_) return;
    phase_ = 0;
    base_ += outputs_ * dilation_;
  }

 private:
  int outputs_;
  Index dilation_, phase_, base_;
};

// Those of one panel of columns, a few at a time between products: the processor does not foresee rows with these strides, and the
// inverse transforms would wait for each.
class BlockFetcher {
 public:
  BlockFetcher(const ConvArgs& c, int column, int floats, int outputs, Index first_tile, int tiles, int steps, bool fetch)
      : written_{c.y + column, c.y_stride},
        residual_(other(c, c.epilogue.residual, c.epilogue.residual_stride, column)),
        addend_(other(c, c.epilogue.addend, c.epilogue.addend_stride, column)),
        floats_(floats),
        outputs_(outputs),
        per_step_((tiles * outputs + steps - 1) / steps),
        dilation_(c.dilation),
        tile_(first_tile, outputs, c.dilation),
        at_(tile_.first()),
        rows_left_(outputs),
        tiles_left_(fetch ? tiles : 0) {}

  HIFIGAN_INLINE void step() {
    for (int todo = per_step_; todo > 0 && tiles_left_ > 0;) {
      const int count = todo < rows_left_ ? todo : rows_left_;
      fetch<true>(written_, count);
      fetch<false>(residual_, count);
      fetch<false>(addend_, count);
      at_ += count * dilation_;
      todo -= count;
      rows_left_ -= count;
      if (rows_left_ == 0) next_tile();
    }
  }

 private:
  struct Target {
    const float* base;  // null: nothing to fetch
    Index stride;
  };

  static Target other(const ConvArgs& c, const float* rows, Index stride, int column) {
    return {rows && rows != c.y ? rows + column : nullptr, stride};
  }

  template <bool Write>
  HIFIGAN_INLINE void fetch(const Target& target, int count) const {
    if (!target.base) return;
    const float* row = target.base + at_ * target.stride;
    const Index step = dilation_ * target.stride;
    for (int r = 0; r < count; ++r, row += step) {
      for (Index f = 0; f < floats_; f += kLineFloats) __builtin_prefetch(row + f, Write ? 1 : 0);
    }
  }

  void next_tile() {
    --tiles_left_;
    rows_left_ = outputs_;
    tile_.next();
    at_ = tile_.first();
  }

  Target written_, residual_, addend_;
  int floats_, outputs_, per_step_;
  Index dilation_;
  TileRows tile_;
  Index at_;  // the next row
  int rows_left_, tiles_left_;
};

// Those of all columns, as stretches of memory, line by line within the products.
class RowsToCome {
 public:
  // Of all columns of the rows [begin, end), during so many k.
  RowsToCome(const ConvArgs& c, Index begin, Index end, Index depth) {
    const auto add = [&](const float* rows, Index stride) {
      parts_[count_++] = {rows + begin * stride, (end - begin) * stride};
      floats_ += (end - begin) * stride;
    };
    add(c.y, c.y_stride);
    if (c.epilogue.residual && c.epilogue.residual != c.y) add(c.epilogue.residual, c.epilogue.residual_stride);
    if (c.epilogue.addend && c.epilogue.addend != c.y) add(c.epilogue.addend, c.epilogue.addend_stride);
    const Index even = (floats_ + depth - 1) / depth;
    step_ = even < kLineFloats ? even : kLineFloats;
  }

  // What is to be fetched during the next so many k.
  HIFIGAN_INLINE Stretch next(Index depth) {
    while (part_ < count_ && at_ >= parts_[part_].floats) at_ -= parts_[part_++].floats;
    if (part_ == count_) return {};
    const Stretch stretch = {parts_[part_].rows + at_, step_};
    at_ += step_ * depth;
    return stretch;
  }

 private:
  struct Part {
    const float* rows;
    Index floats;
  };

  Part parts_[3];
  int count_ = 0, part_ = 0;
  Index floats_ = 0, step_, at_ = 0;
};
