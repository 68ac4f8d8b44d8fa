#include "core/layer_runner.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "core/thread_seconds.h"
#include "core/tuning.h"

namespace hifigan {

namespace {

// Calls f(begin, end, thread) on pieces of [0, count), which begin at multiples of `unit`: as many for each thread, and where each
// is of at least `least`, several, so that a thread that is late leaves some of its share to others.
template <class F>
void share(ThreadGroup group, Index count, Index unit, Index least, F&& f) {
  if (count <= 0) return;
  const Index threads = group.threads(), units = ceil_div(count, unit);
  if (threads == 1) return f(Index{0}, count, 0);
  const Index pieces = std::min(units, threads * std::clamp<Index>(count / (least * threads), 1, 4));
  const auto begin = [&](Index piece) { return std::min(count, units * piece / pieces * unit); };
  group.pool->loop(pieces, [&](Index piece, int thread) { f(begin(piece), begin(piece + 1), thread); });
}

// Calls f(begin, end, columns, thread) on pieces of `rows` rows of a product with so many columns. Each piece of the rows reads
// all weights: where that is what takes time, threads share the columns instead.
template <class F>
void share_product(ThreadGroup group, Index rows, const Pieces& pieces, int columns, int panel, F&& f) {
  const Index threads = group.threads();
  Index parts = 1;
  const Index panels = panel > 0 ? ceil_div(columns, panel) : 1;
  for (Index more = 2; more <= std::min(threads, panels) && rows * parts < pieces.enough * threads; ++more) {
    if (threads % more == 0) parts = more;
  }
  if (parts == 1) {
    return share(group, rows, pieces.unit, pieces.least,
                 [&](Index begin, Index end, int thread) { f(begin, end, Columns{}, thread); });
  }
  const Index units = ceil_div(rows, pieces.unit), row_parts = std::min(units, threads / parts);
  const auto column = [&](Index part) { return static_cast<int>(panels * part / parts) * panel; };
  const auto row = [&](Index part) { return std::min(rows, units * part / row_parts * pieces.unit); };
  group.pool->loop(parts * row_parts, [&](Index piece, int thread) {
    const Index part = piece / row_parts, begin = piece % row_parts;
    f(row(begin), row(begin + 1), Columns{column(part), std::min(column(part + 1), columns)}, thread);
  });
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

// As Pieces are for rows; of tiles whose weights the second cache keeps, as many are enough as of rows.
constexpr Index kLeastTiles = 24;
constexpr Index kEnoughTiles = 20;
constexpr Index kLeastSamples = 1024;

}  // namespace

LayerRunner::LayerRunner(StreamState& state, const Workspace& workspace, const Tuning& tuning, ThreadGroup group,
                         StopRequest stop, double* layer_seconds)
    : state_(state), workspace_(workspace), tuning_(tuning), group_(group), stop_(std::move(stop)), layer_seconds_(layer_seconds) {}

// Writes the rows beyond the ends that a convolution from row `begin` on reads, if they are no zeros. Returns the end of the
// rows that may be read. Rows are mirrored when they are read, since only then they are known; what was kept of them before
// is written over.
Index LayerRunner::pad(const NetworkLayer& layer, const Rows& in, Index begin, bool final) {
  if (layer.padding_mode == PaddingMode::kZeros) return in.end;
  const bool mirrored = layer.padding_mode == PaddingMode::kReflect;
  const auto copy = [&](Index from, Index to) { std::copy_n(in.row(from), in.floats, in.row(to)); };
  for (Index row = begin - layer.padding_left; row < 0; ++row) copy(mirrored ? -row : 0, row);
  if (!final) return in.end;
  const Index last = in.end - 1;
  for (Index row = 1; row <= layer.padding_right; ++row) copy(mirrored ? last - row : last, last + row);
  return in.end + layer.padding_right;
}

void LayerRunner::conv(const LayerStep& step, const Rows& in, const Out& out, bool final) {
  const Index rows = out.end - out.begin;
  if (rows <= 0) return;
  if (stop_ && stop_()) throw Stopped();
  const Stopwatch watch(seconds_of(step));
  const NetworkLayer& layer = *step.layer;
  const Index first = out.begin - layer.padding_left, in_end = pad(layer, in, out.begin, final);
  float* const y = out.rows.row(out.begin);
  const Index stride = out.rows.floats;
  const float* residual = out.residual ? out.residual->row(out.begin) : nullptr;
  const Activation activation = in.held == layer.activation ? Activation{} : layer.activation;
  const ConvArgs args{in.row(first), in.floats, in_end - first, activation, step.weights, layer.in_channels,
                      layer.out_channels, layer.kernel_size, layer.dilation, y, stride, rows,
                      {state_.biases().of(step.number), residual, residual ? out.residual->floats : 0,
                       out.add ? y : nullptr, stride, out.scale, out.rows.held,
                       residual ? out.residual->held : Activation{}, out.rows.format},
                      &tuning_, nullptr};
  const int columns = step.kernels->padded_channels(layer.out_channels);
  // Columns of a row may not be shared where its sum is replaced by numbers of another size: they lie where another's sum was.
  const int panel = out.add && out.rows.format != Format::kFloat32 ? 0 : step.kernels->panel;
  if (step.algorithm.tiled) {
    const Index tiles = layer.dilation * ceil_div(ceil_div(rows, layer.dilation), step.shape.outputs);
    static const Index second_cache = second_cache_bytes();
    const std::size_t weights = step.kernels->tiled_weights_size(step.algorithm.transform, layer.in_channels, layer.out_channels);
    const bool kept = static_cast<Index>(weights * sizeof(float)) <= second_cache;
    const Pieces pieces{step.kernels->pieces.unit, kLeastTiles, kept ? step.kernels->pieces.enough : kEnoughTiles};
    share_product(group_, tiles, pieces, columns, panel, [&](Index begin, Index end, Columns part, int thread) {
      TiledConvArgs tiled{args, step.algorithm.transform, begin, end};
      tiled.conv.columns = part;
      tiled.conv.scratch = workspace_.scratch(thread);
      step.kernels->conv_tiled(tiled);
    });
    return;
  }
  share_product(group_, rows, step.kernels->pieces, columns, panel, [&](Index begin, Index end, Columns part_columns, int thread) {
    ConvArgs part = args;
    part.columns = part_columns;
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

void LayerRunner::gate(const LayerStep& step, const Rows& rows, Index begin) {
  const Stopwatch watch(seconds_of(step));
  share(group_, rows.end - begin, 1, step.kernels->pieces.least, [&](Index piece_begin, Index piece_end, int) {
    step.kernels->gate({rows.row(begin + piece_begin), rows.floats, piece_end - piece_begin, step.layer->out_channels / 2});
  });
}

void LayerRunner::transpose(const LayerStep& step, const Rows& in, const Rows& out, Index begin) {
  if (out.end <= begin) return;
  if (stop_ && stop_()) throw Stopped();
  const Stopwatch watch(seconds_of(step));
  const NetworkLayer& up = *step.layer;
  const float* bias = state_.biases().of(step.number);
  const Index first = (begin + up.padding_left) / up.stride, last = ceil_div(out.end + up.padding_left, up.stride);
  const Index taps = up.taps();
  if (up.padding_mode == PaddingMode::kReplicate && first < taps - 1) std::copy_n(in.row(0), in.floats, in.row(-1));
  const int columns = up.stride * step.kernels->padded_channels(up.out_channels);
  Pieces pieces = step.kernels->pieces;
  pieces.least = std::max<Index>(8, pieces.least / up.stride);
  if (step.winograd) pieces.unit = kWinogradRows;
  share_product(group_, last - first, pieces, columns, step.kernels->panel, [&](Index piece_begin, Index piece_end, Columns part,
                                                                                int thread) {
    const Index q = first + piece_begin, x = q - (taps - 1), y = q * up.stride - up.padding_left;
    const Index count = piece_end - piece_begin;
    // The first super-row may begin before the rows that are asked for; it does not write there.
    step.kernels->conv_transpose({in.row(x), in.floats, in.end - x, step.weights, up.in_channels, up.out_channels,
                                  up.kernel_size, up.stride, out.row(y), out.floats, count, std::max<Index>(0, begin - y),
                                  std::min(count * up.stride, out.end - y), bias, &tuning_, workspace_.scratch(thread),
                                  out.held, out.format, part, step.winograd});
  });
}

void LayerRunner::post(const LayerStep& step, const Rows& in, Index begin, Index end, bool final, Output output, float* audio) {
  const NetworkLayer& layer = *step.layer;
  const Stopwatch watch(seconds_of(step));
  const Index in_end = end > begin ? pad(layer, in, begin, final) : in.end;
  const float bias = *state_.biases().of(step.number);
  share(group_, end - begin, 1, kLeastSamples, [&](Index piece_begin, Index piece_end, int thread) {
    const Index first = begin + piece_begin - layer.padding_left;
    step.kernels->conv_post({in.row(first), in.floats, in_end - first, step.weights, layer.in_channels, layer.kernel_size, bias,
                             output, audio + piece_begin, piece_end - piece_begin, workspace_.scratch(thread)});
  });
}

void LayerRunner::restore(std::size_t carry, const Rows& rows) {
  const Carry& kept = state_.carry(carry);
  std::copy_n(kept.rows, (kept.end - kept.first) * kept.floats, rows.row(kept.first));
}

void LayerRunner::save(std::size_t carry, const Rows& rows, Index first, Index end) {
  Carry& kept = state_.carry(carry);
  if (end - first > kept.capacity || first < kept.first) throw std::logic_error("a layer keeps more rows than planned");
  std::copy_n(rows.row(first), (end - first) * kept.floats, kept.rows);
  kept.first = first;
  kept.end = end;
}

}  // namespace hifigan
