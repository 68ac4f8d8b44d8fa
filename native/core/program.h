// A network with a plan, made ready to run: each layer with its function's arguments, each buffer with its size.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "core/aligned_buffer.h"
#include "core/packed_weights.h"
#include "core/plan.h"

namespace hifigan {

// A layer with its packed weights.
struct LayerStep {
  const NetworkLayer* layer;
  std::size_t number;  // in the network
  const Kernels* kernels;
  Algorithm algorithm;
  bool winograd;
  TransformShape shape;  // of a tiled convolution
  const float* weights;
};

// Rows of one activation that must outlive a block, because the next block's convolutions reach back to them.
struct CarrySpec {
  Index rows;    // at most
  Index floats;  // of a row
  Index zeros;   // rows before the signal that are there from the start
};

// What lies in the rows of an activation.
struct RowKind {
  Index floats;  // of a row
  Format format;
  Activation held;  // what the values have passed already
};

struct UnitStep {
  const LayerStep* first;
  const LayerStep* second;   // null if the unit has one convolution
  std::size_t input_carry;   // of the unit's input; unit 0 uses the stage's
  std::size_t middle_carry;  // of what lies between the two convolutions
};

struct ResblockStep {
  std::vector<UnitStep> units;
  int lag;
};

struct StageStep {
  const LayerStep* upsample;
  RowKind rows;           // what the residual blocks read and write
  RowKind sum;            // what the layer behind reads; as large as the sum in float32, in which it is added up
  Index block;            // input rows per block
  Index history;          // rows before the first new row that a block's buffers hold
  Index capacity;         // rows of a block's buffers
  std::size_t carry;      // of the upsampled rows
  std::size_t sum_carry;  // of the sum over the residual blocks
  std::vector<ResblockStep> resblocks;  // by falling number of determined rows: see Executor::resblocks
};

struct GatedStep {
  const LayerStep* gate;
  const LayerStep* residual;  // null for the last of a coupling
  const LayerStep* shift;
  std::size_t carry;  // of what the gated convolution reads
};

struct CouplingStep {
  const LayerStep* pre;
  std::size_t shifted;  // 0 or 1: a half of the input's channels
  std::vector<GatedStep> units;
};

// The layers in front of the first convolution of a network with a flow, and the sizes of their buffers.
struct FlowStep {
  std::vector<CouplingStep> couplings;
  std::size_t half_carries[2];
  Index half;                                          // channels of the input that a half has
  Index half_channels, inner_channels, gate_channels;  // padded, of the halves, within a coupling, of what is gated
  Index half_rows, inner_rows, gate_rows;
};

// Immutable once made; shared by all streams of one plan.
class Program {
 public:
  Program(const Network& network, const Kernels& isa, NetworkPlan plan, const PackedWeights& weights);

  const Network& network() const { return network_; }
  const NetworkPlan& plan() const { return plan_; }
  // Makes the rows that the first convolution reads of the input's; null if those are the same.
  const LayerStep* linear() const { return network_.linear() ? &layers_.front() : nullptr; }
  // Makes them of the input's halves; null if there is none.
  const FlowStep* flow() const { return flow_ ? &*flow_ : nullptr; }
  const LayerStep& first() const { return layers_[network_.first_number]; }
  const LayerStep& last() const { return layers_.back(); }
  const std::vector<StageStep>& stages() const { return stages_; }
  const std::vector<CarrySpec>& carries() const { return carries_; }

  // Null if the input is not normalised.
  const float* mean() const { return mean_; }
  const float* scale() const { return scale_; }
  const RowKind& feature_kind() const { return feature_kind_; }  // of the linear layer's input; no floats without one
  const RowKind& mel_kind() const { return mel_kind_; }
  const RowKind& first_kind() const { return first_kind_; }
  std::size_t mel_carry() const { return 0; }
  std::size_t first_carry() const { return 1; }
  Index mel_rows() const { return mel_rows_; }
  Index first_rows() const { return first_rows_; }
  std::size_t stage_floats() const { return stage_floats_; }      // of each of a block's work buffers
  std::size_t scratch_floats() const { return scratch_floats_; }  // of each thread

 private:
  LayerStep layer_step(std::size_t number, const PackedWeights& weights);
  StageStep stage_step(const Stage& stage, Index block);
  FlowStep flow_step();
  Activation held_by(const Stage& stage) const;
  RowKind kind_of(const LayerStep& reader, int channels, Activation held) const;
  std::size_t add_carry(Index rows, Index floats, Index zeros);

  const Network& network_;
  const Kernels& isa_;
  NetworkPlan plan_;
  std::vector<LayerStep> layers_;
  std::optional<FlowStep> flow_;
  std::vector<StageStep> stages_;
  std::vector<CarrySpec> carries_;
  const float* mean_;
  const float* scale_;
  RowKind feature_kind_{}, mel_kind_, first_kind_;
  Index mel_rows_, first_rows_;
  std::size_t stage_floats_ = 0, scratch_floats_ = 0;
};

// The buffers that an executor of a program needs, in one piece; what they hold does not outlive a segment.
// Throws std::bad_alloc.
class Workspace {
 public:
  // `allocate` gives so many floats, or more.
  Workspace(const Program& program, int threads, const std::function<AlignedBuffer(std::size_t floats)>& allocate);

  float* mel() const { return at(0); }
  float* first() const { return at(1); }
  // Of the stage at work: the upsampled rows, and two for what residual units give.
  float* upsampled() const { return at(2); }
  float* work(int i) const { return at(3 + static_cast<std::size_t>(i)); }
  // What a linear layer reads.
  float* features() const { return at(5); }
  // Of a flow: the halves of the input, what goes through a coupling, and what is gated in it.
  float* half(std::size_t i) const { return at(6 + i); }
  float* inner() const { return at(8); }
  float* gates() const { return at(9); }
  // The sum over a stage's residual blocks, which the next stage reads while it works.
  float* sum(std::size_t stage) const { return at(10 + stage); }
  float* scratch(int thread) const { return at(first_scratch_ + static_cast<std::size_t>(thread)); }
  AlignedBuffer& memory() { return arena_; }

 private:
  float* at(std::size_t i) const { return start_ + offsets_[i]; }

  std::size_t first_scratch_;
  std::vector<std::size_t> offsets_;
  AlignedBuffer arena_;
  float* start_;
};

}  // namespace hifigan
