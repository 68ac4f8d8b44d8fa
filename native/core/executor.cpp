#include "core/executor.h"

#include <algorithm>
#include <stdexcept>

#include "core/thread_seconds.h"

namespace hifigan {

namespace {

Index ceil_div(Index a, Index b) { return (a + b - 1) / b; }

// Calls f(begin, end, thread) on pieces of [0, count): as many for each thread, and where each is of at least `least`, several,
// so that a thread that is late leaves some of its share to others.
template <class F>
void share(ThreadGroup group, Index count, Index least, F&& f) {
  if (count <= 0) return;
  const Index threads = group.threads();
  if (threads == 1) return f(Index{0}, count, 0);
  const Index pieces = std::min(count, threads * std::clamp<Index>(count / (least * threads), 1, 4));
  group.pool->loop(pieces, [&](Index piece, int thread) { f(count * piece / pieces, count * (piece + 1) / pieces, thread); });
}

// Adds the processor time of the calling thread, which works or waits awake while a layer is computed: what the layer takes
// on a quiet machine, whatever else runs.
class Stopwatch {
 public:
  explicit Stopwatch(double* seconds) : seconds_(seconds), start_(seconds ? thread_seconds() : 0) {}
  ~Stopwatch() {
    if (seconds_) *seconds_ += thread_seconds() - start_;
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  double* seconds_;
  double start_;
};

// Pieces smaller than these cost more in calls than they give in balance.
constexpr Index kLeastTiles = 24;
constexpr Index kLeastRows = 48;
constexpr Index kLeastSamples = 1024;

}  // namespace

Executor::Executor(const Program& program, StreamState& state, Workspace& workspace, const Tuning& tuning, ThreadGroup group,
                   StopRequest stop, double* layer_seconds)
    : program_(program),
      state_(state),
      workspace_(workspace),
      tuning_(tuning),
      group_(group),
      stop_(std::move(stop)),
      layer_seconds_(layer_seconds) {}

Index Executor::segment(MelView mel, bool final, float* audio) {
  const Index before = state_.samples;
  const NetworkLayer& layer = *program_.first().layer;
  Carry& mel_carry = state_.carry(program_.mel_carry());
  const Index frames = mel_carry.end + mel.frames;
  Rows in{workspace_.mel(), mel_carry.first, mel_carry.channels, frames};
  restore(program_.mel_carry(), in);
  const Index fresh = mel_carry.end;
  if (const LayerStep* linear = program_.linear()) {
    const Rows features{workspace_.features(), fresh, program_.feature_channels(), frames};
    read(mel, features, fresh);
    // Rows may be wider than the layer writes them.
    std::fill(in.row(fresh), in.row(frames), 0.0f);
    conv(*linear, features, linear->layer->activation, {in, fresh, frames, nullptr, false, 1.0f, {}}, final);
  } else {
    read(mel, in, fresh);
  }

  Carry& carry = state_.carry(program_.first_carry());
  const Index begin = carry.end;
  const Index end = final ? layer.output_length(frames) : std::max(begin, layer.determined(frames));
  Rows out{workspace_.first(), carry.first, carry.channels, end};
  restore(program_.first_carry(), out);
  // Activations are written already activated where all their readers are the layer behind.
  const Activation behind = program_.stages().front().upsample->layer->activation;
  conv(program_.first(), in, layer.activation, {out, begin, end, nullptr, false, 1.0f, behind}, final);
  if (!final) save(program_.mel_carry(), in, end - layer.padding_left, frames);

  feed(0, out, final, audio);
  if (!final) save(program_.first_carry(), out, first_row_read_behind(0), end);
  return state_.samples - before;
}

// Frames become rows from `begin` on, normalised where the network wants it.
void Executor::read(MelView mel, const Rows& in, Index begin) {
  const Index bands = program_.network().bands();
  const float *mean = program_.mean(), *scale = program_.scale();
  for (Index frame = 0; frame < mel.frames; ++frame) {
    float* row = in.row(begin + frame);
    for (Index band = 0; band < bands; ++band) row[band] = mel.data[band * mel.band_stride + frame];
    if (mean) {
      for (Index band = 0; band < bands; ++band) row[band] = (row[band] - mean[band]) / scale[band];
    }
    std::fill(row + bands, row + in.channels, 0.0f);
  }
}

// Writes the rows beyond the ends that a convolution from row `begin` on reads, if they are no zeros. Returns the end of the
// rows that may be read. Rows are mirrored when they are read, since only then they are known; what was kept of them before
// is written over.
Index Executor::pad(const NetworkLayer& layer, const Rows& in, Index begin, bool final) {
  if (layer.padding_mode == PaddingMode::kZeros) return in.end;
  const bool mirrored = layer.padding_mode == PaddingMode::kReflect;
  const auto copy = [&](Index from, Index to) { std::copy_n(in.row(from), in.channels, in.row(to)); };
  for (Index row = begin - layer.padding_left; row < 0; ++row) copy(mirrored ? -row : 0, row);
  if (!final) return in.end;
  const Index last = in.end - 1;
  for (Index row = 1; row <= layer.padding_right; ++row) copy(mirrored ? last - row : last, last + row);
  return in.end + layer.padding_right;
}

// A convolution on all threads: rows out.begin .. out.end - 1.
void Executor::conv(const LayerStep& step, const Rows& in, Activation activation, const Out& out, bool final) {
  const Index rows = out.end - out.begin;
  if (rows <= 0) return;
  const Stopwatch watch(layer_seconds_ ? layer_seconds_ + step.number : nullptr);
  const NetworkLayer& layer = *step.layer;
  const Index first = out.begin - layer.padding_left, in_end = pad(layer, in, out.begin, final);
  float* const y = out.rows.row(out.begin);
  const Index stride = out.rows.channels;
  const float* residual = out.residual ? out.residual->row(out.begin) : nullptr;
  const ConvArgs args{in.row(first), in.channels, in_end - first, activation, step.weights, layer.in_channels,
                      layer.out_channels, layer.kernel_size, layer.dilation, y, stride, rows,
                      {state_.biases().of(step.number), residual, residual ? out.residual->channels : 0,
                       out.add ? y : nullptr, stride, out.scale, out.activation},
                      &tuning_, nullptr};
  if (step.algorithm.tiled) {
    const Index tiles = layer.dilation * ceil_div(ceil_div(rows, layer.dilation), step.shape.outputs);
    share(group_, tiles, kLeastTiles, [&](Index begin, Index end, int thread) {
      TiledConvArgs tiled{args, step.algorithm.transform, begin, end};
      tiled.conv.scratch = workspace_.scratch(thread);
      step.kernels->conv_tiled(tiled);
    });
    return;
  }
  share(group_, rows, kLeastRows, [&](Index begin, Index end, int thread) {
    ConvArgs part = args;
    part.x += begin * part.x_stride;
    part.x_rows -= begin;
    part.y += begin * part.y_stride;
    part.rows = end - begin;
    if (part.epilogue.residual) part.epilogue.residual += begin * part.epilogue.residual_stride;
    if (part.epilogue.addend) part.epilogue.addend += begin * part.epilogue.addend_stride;
    part.scratch = workspace_.scratch(thread);
    step.kernels->conv_direct(part);
  });
}

// The stage's upsampling: rows begin .. out.end - 1.
void Executor::transpose(const StageStep& step, const Rows& in, const Rows& out, Index begin) {
  if (out.end <= begin) return;
  const LayerStep& upsample = *step.upsample;
  const Stopwatch watch(layer_seconds_ ? layer_seconds_ + upsample.number : nullptr);
  const NetworkLayer& up = *upsample.layer;
  const float* bias = state_.biases().of(upsample.number);
  const Index first = (begin + up.padding_left) / up.stride, last = ceil_div(out.end + up.padding_left, up.stride);
  const Index taps = up.taps();
  if (up.padding_mode == PaddingMode::kReplicate && first < taps - 1) std::copy_n(in.row(0), in.channels, in.row(-1));
  share(group_, last - first, std::max<Index>(8, kLeastRows / up.stride), [&](Index piece_begin, Index piece_end, int thread) {
    const Index q = first + piece_begin, x = q - (taps - 1), y = q * up.stride - up.padding_left;
    const Index count = piece_end - piece_begin;
    // The first super-row may begin before the rows that are asked for; it does not write there.
    upsample.kernels->conv_transpose({in.row(x), in.channels, in.end - x, upsample.weights, up.in_channels, up.out_channels,
                                      up.kernel_size, up.stride, out.row(y), out.channels, count, std::max<Index>(0, begin - y),
                                      std::min(count * up.stride, out.end - y), bias, &tuning_, workspace_.scratch(thread)});
  });
}

void Executor::last(const Rows& in, bool final, float* audio) {
  const LayerStep& step = program_.last();
  const NetworkLayer& layer = *step.layer;
  const Index begin = state_.samples;
  const Index end = final ? layer.output_length(in.end) : std::max(begin, layer.determined(in.end));
  const Stopwatch watch(layer_seconds_ ? layer_seconds_ + step.number : nullptr);
  const Index in_end = end > begin ? pad(layer, in, begin, final) : in.end;
  const float bias = *state_.biases().of(step.number);
  share(group_, end - begin, kLeastSamples, [&](Index piece_begin, Index piece_end, int thread) {
    const Index first = begin + piece_begin - layer.padding_left;
    step.kernels->conv_post({in.row(first), in.channels, in_end - first, step.weights, layer.in_channels, layer.kernel_size,
                             bias, program_.network().output, audio + piece_begin, piece_end - piece_begin,
                             workspace_.scratch(thread)});
  });
  state_.samples = end;
}

// Takes the rows that are new in `in` through a stage and all that follow, block by block.
void Executor::feed(std::size_t stage, const Rows& in, bool final, float* audio) {
  const Index old = state_.consumed(stage), fresh = in.end - old;
  if (fresh <= 0 && !final) return;
  const Index blocks = std::max<Index>(1, ceil_div(fresh, program_.stages()[stage].block));
  const Index samples = state_.samples;
  for (Index i = 1; i <= blocks; ++i) {
    if (stop_ && stop_()) throw Stopped();
    block(stage, in, old + fresh * i / blocks, final && i == blocks, audio + (state_.samples - samples));
  }
}

// Input rows up to in_end, through one stage.
void Executor::block(std::size_t stage, const Rows& in, Index in_end, bool final, float* audio) {
  const StageStep& step = program_.stages()[stage];
  const NetworkLayer& up = *step.upsample->layer;
  Carry& carry = state_.carry(step.carry);
  Rows source = in;
  source.end = in_end;
  const Index begin = carry.end;
  const Index end = final ? up.output_length(in_end) : std::max(begin, up.determined(in_end));
  const Rows upsampled{workspace_.upsampled(), begin - step.history, step.channels, end};
  restore(step.carry, upsampled);
  transpose(step, source, upsampled, begin);
  state_.consumed(stage) = in_end;

  Rows sum{workspace_.sum(stage), upsampled.origin, step.channels, 0};
  restore(step.sum_carry, sum);
  sum.end = resblocks(stage, upsampled, sum, final);
  if (stage + 1 < program_.stages().size()) {
    feed(stage + 1, sum, final, audio);
  } else {
    last(sum, final, audio);
  }
  if (!final) save(step.sum_carry, sum, first_row_read_behind(stage + 1), state_.summed(stage, 0));
}

// All residual blocks of a stage; returns how many rows of the sum are complete.
Index Executor::resblocks(std::size_t stage, const Rows& upsampled, const Rows& sum, bool final) {
  const StageStep& step = program_.stages()[stage];
  const std::size_t count = step.resblocks.size();
  Index needed = upsampled.end;
  for (std::size_t j = 0; j < count; ++j) {
    const std::vector<UnitStep>& units = step.resblocks[j].units;
    Rows in = upsampled;
    for (std::size_t u = 0; u < units.size(); ++u) {
      const bool last = u + 1 == units.size();
      Index& done = last ? state_.summed(stage, j) : state_.carry(units[u + 1].input_carry).end;
      Out out{in, done, 0, &in, false, 1.0f, {}};
      // Two convolutions work in place, since the second reads another buffer; single ones alternate between two.
      out.rows.base = workspace_.work(units[u].second || in.base != workspace_.work(0) ? 0 : 1);
      if (last) {
        out.rows.base = sum.base;
        out.add = j > 0;
        if (j + 1 == count) {
          out.scale = 1.0f / static_cast<float>(count);
          out.activation = step.activation;
        }
      }
      const Index need = unit(units[u], u > 0, in, out, final);
      if (u == 0) needed = std::min(needed, need);
      if (!last) restore(units[u + 1].input_carry, out.rows);
      done = out.rows.end;
      in = out.rows;
    }
  }
  if (final) return state_.summed(stage, count - 1);
  save(step.carry, upsampled, needed, upsampled.end);
  return state_.summed(stage, count - 1);
}

// out += convolutions of `in`, for all rows that are determined; out.rows.end becomes their number. Returns the first row of
// `in` that the next block needs; with `keep`, saves from there on.
Index Executor::unit(const UnitStep& step, bool keep, const Rows& in, Out& out, bool final) {
  const NetworkLayer& first = *step.first->layer;
  if (!step.second) {
    const Index computed = final ? in.end : std::max(out.begin, first.determined(in.end));
    out.end = out.rows.end = computed;
    conv(*step.first, in, first.activation, out, final);
    if (keep && !final) save(step.input_carry, in, computed - first.padding_left, in.end);
    return computed - first.padding_left;
  }
  const NetworkLayer& second = *step.second->layer;
  Carry& carry = state_.carry(step.middle_carry);
  const Index computed = final ? in.end : std::max(carry.end, first.determined(in.end));
  const Rows middle{workspace_.work(1), in.origin, in.channels, computed};
  restore(step.middle_carry, middle);
  // Its only reader is the second convolution, so the activation can go on while the rows are written.
  conv(*step.first, in, first.activation, {middle, carry.end, computed, nullptr, false, 1.0f, second.activation}, final);
  out.end = out.rows.end = final ? computed : std::max(out.begin, second.determined(computed));
  const Index needed = std::min(computed - first.padding_left, out.end);
  // Before the second convolution, which may write over these rows.
  if (keep && !final) save(step.input_carry, in, needed, in.end);
  conv(*step.second, middle, {}, out, final);
  if (!final) save(step.middle_carry, middle, out.end - second.padding_left, computed);
  return needed;
}

// The first row that the layer behind stage - 1 (or the first) still reads.
Index Executor::first_row_read_behind(std::size_t stage) const {
  if (stage == program_.stages().size()) return state_.samples - program_.network().last().padding_left;
  const StageStep& step = program_.stages()[stage];
  const NetworkLayer& up = *step.upsample->layer;
  return (state_.carry(step.carry).end + up.padding_left) / up.stride - (up.taps() - 1);
}

void Executor::restore(std::size_t carry, const Rows& rows) {
  const Carry& kept = state_.carry(carry);
  std::copy_n(kept.rows, (kept.end - kept.first) * kept.channels, rows.row(kept.first));
}

void Executor::save(std::size_t carry, const Rows& rows, Index first, Index end) {
  Carry& kept = state_.carry(carry);
  if (end - first > kept.capacity || first < kept.first) throw std::logic_error("a layer keeps more rows than planned");
  std::copy_n(rows.row(first), (end - first) * kept.channels, kept.rows);
  kept.first = first;
  kept.end = end;
}

}  // namespace hifigan
