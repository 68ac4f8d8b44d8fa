#include "core/executor.h"

#include <algorithm>
#include <optional>

#include "core/flow_executor.h"

namespace hifigan {

Executor::Executor(const Program& program, StreamState& state, Workspace& workspace, const Tuning& tuning, ThreadGroup group,
                   StopRequest stop, double* layer_seconds)
    : program_(program),
      state_(state),
      workspace_(workspace),
      runner_(state, workspace, tuning, group, std::move(stop), layer_seconds) {}

Index Executor::segment(MelView mel, bool final, float* audio) {
  const Index before = state_.samples;
  const NetworkLayer& layer = *program_.first().layer;
  Carry& mel_carry = state_.carry(program_.mel_carry());
  const Index fresh = mel_carry.end;
  std::optional<FlowExecutor> flow;
  if (program_.flow()) flow.emplace(*program_.flow(), state_, workspace_, runner_);
  const Index frames = flow ? flow->segment(mel, final) : fresh + mel.frames;
  Rows in{workspace_.mel(), mel_carry.first, mel_carry.floats, frames, program_.mel_kind().format};
  runner_.restore(program_.mel_carry(), in);
  if (flow) {
    flow->join(in, fresh, final);
  } else if (const LayerStep* linear = program_.linear()) {
    const RowKind& kind = program_.feature_kind();
    const Rows features{workspace_.features(), fresh, kind.floats, frames, kind.format};
    read(mel, *linear, features, fresh);
    // Rows may be wider than the layer writes them.
    std::fill(in.row(fresh), in.row(frames), 0.0f);
    runner_.conv(*linear, features, {in, fresh, frames}, final);
  } else {
    read(mel, program_.first(), in, fresh);
  }

  Carry& carry = state_.carry(program_.first_carry());
  const Index begin = carry.end;
  const Index end = final ? layer.output_length(frames) : std::max(begin, layer.determined(frames));
  // Rows hold the activation of the layer behind where it is their only reader.
  const RowKind& kind = program_.first_kind();
  Rows out{workspace_.first(), carry.first, kind.floats, end, kind.format, kind.held};
  runner_.restore(program_.first_carry(), out);
  runner_.conv(program_.first(), in, {out, begin, end}, final);
  if (!final) runner_.save(program_.mel_carry(), in, end - layer.padding_left, frames);

  feed(0, out, final, audio);
  if (!final) runner_.save(program_.first_carry(), out, first_row_read_behind(0), end);
  return state_.samples - before;
}

// Frames become rows from `begin` on, which a layer reads; normalised where the network wants it.
void Executor::read(MelView mel, const LayerStep& reader, const Rows& in, Index begin) {
  const int bands = program_.network().bands();
  const float *mean = program_.mean(), *scale = program_.scale();
  // Of a workspace's scratch the calling thread has the first.
  float* const values = workspace_.scratch(0);
  for (Index frame = 0; frame < mel.frames; ++frame) {
    for (Index band = 0; band < bands; ++band) values[band] = mel.data[band * mel.band_stride + frame];
    if (mean) {
      for (Index band = 0; band < bands; ++band) values[band] = (values[band] - mean[band]) / scale[band];
    }
    reader.kernels->store_row(values, bands, in.row(begin + frame));
  }
}

void Executor::last(const Rows& in, bool final, float* audio) {
  const NetworkLayer& layer = *program_.last().layer;
  const Index begin = state_.samples;
  const Index end = final ? layer.output_length(in.end) : std::max(begin, layer.determined(in.end));
  runner_.post(program_.last(), in, begin, end, final, program_.network().output, audio);
  state_.samples = end;
}

// Takes the rows that are new in `in` through a stage and all that follow, block by block.
void Executor::feed(std::size_t stage, const Rows& in, bool final, float* audio) {
  const Index old = state_.consumed(stage), fresh = in.end - old;
  if (fresh <= 0 && !final) return;
  const Index blocks = std::max<Index>(1, ceil_div(fresh, program_.stages()[stage].block));
  const Index samples = state_.samples;
  for (Index i = 1; i <= blocks; ++i) {
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
  const Rows upsampled{workspace_.upsampled(), begin - step.history, step.rows.floats, end, step.rows.format, step.rows.held};
  runner_.restore(step.carry, upsampled);
  runner_.transpose(*step.upsample, source, upsampled, begin);
  state_.consumed(stage) = in_end;

  Rows sum{workspace_.sum(stage), upsampled.origin, step.sum.floats, 0, step.sum.format, step.sum.held};
  runner_.restore(step.sum_carry, sum);
  sum.end = resblocks(stage, upsampled, sum, final);
  if (stage + 1 < program_.stages().size()) {
    feed(stage + 1, sum, final, audio);
  } else {
    last(sum, final, audio);
  }
  if (!final) runner_.save(step.sum_carry, sum, first_row_read_behind(stage + 1), state_.summed(stage, 0));
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
      Out out{in, done, 0, &in};
      // Two convolutions work in place, since the second reads another buffer; single ones alternate between two.
      out.rows.base = workspace_.work(units[u].second || in.base != workspace_.work(0) ? 0 : 1);
      if (last) {
        out.rows = sum;
        out.add = j > 0;
        if (j + 1 == count) {
          out.scale = 1.0f / static_cast<float>(count);
        } else {
          out.rows.format = Format::kFloat32;
          out.rows.held = {};
        }
      }
      const Index need = unit(units[u], u > 0, in, out, final);
      if (u == 0) needed = std::min(needed, need);
      if (!last) runner_.restore(units[u + 1].input_carry, out.rows);
      done = out.rows.end;
      in = out.rows;
    }
  }
  if (final) return state_.summed(stage, count - 1);
  runner_.save(step.carry, upsampled, needed, upsampled.end);
  return state_.summed(stage, count - 1);
}

// out += convolutions of `in`, for all rows that are determined; out.rows.end becomes their number. Returns the first row of
// `in` that the next block needs; with `keep`, saves from there on.
Index Executor::unit(const UnitStep& step, bool keep, const Rows& in, Out& out, bool final) {
  const NetworkLayer& first = *step.first->layer;
  if (!step.second) {
    const Index computed = final ? in.end : std::max(out.begin, first.determined(in.end));
    out.end = out.rows.end = computed;
    runner_.conv(*step.first, in, out, final);
    if (keep && !final) runner_.save(step.input_carry, in, computed - first.padding_left, in.end);
    return computed - first.padding_left;
  }
  const NetworkLayer& second = *step.second->layer;
  Carry& carry = state_.carry(step.middle_carry);
  const Index computed = final ? in.end : std::max(carry.end, first.determined(in.end));
  // Its only reader is the second convolution.
  const Rows middle{workspace_.work(1), in.origin, in.floats, computed, in.format, second.activation};
  runner_.restore(step.middle_carry, middle);
  runner_.conv(*step.first, in, {middle, carry.end, computed}, final);
  out.end = out.rows.end = final ? computed : std::max(out.begin, second.determined(computed));
  const Index needed = std::min(computed - first.padding_left, out.end);
  // Before the second convolution, which may write over these rows.
  if (keep && !final) runner_.save(step.input_carry, in, needed, in.end);
  runner_.conv(*step.second, middle, out, final);
  if (!final) runner_.save(step.middle_carry, middle, out.end - second.padding_left, computed);
  return needed;
}

// The first row that the layer behind stage - 1 (or the first) still reads.
Index Executor::first_row_read_behind(std::size_t stage) const {
  if (stage == program_.stages().size()) return state_.samples - program_.network().last().padding_left;
  const StageStep& step = program_.stages()[stage];
  const NetworkLayer& up = *step.upsample->layer;
  return (state_.carry(step.carry).end + up.padding_left) / up.stride - (up.taps() - 1);
}

}  // namespace hifigan
