#include "core/network.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace hifigan {

Index NetworkLayer::output_length(Index length) const {
  if (kind == LayerKind::kConv) return length + padding_left + padding_right - span();
  return (length - 1) * stride + kernel_size - padding_left - padding_right;
}

Index NetworkLayer::determined(Index length) const {
  if (kind == LayerKind::kConv) return std::max<Index>(0, length - lag());
  // What would be cut off at the end is not there before.
  return std::max<Index>(0, std::min(length * stride - padding_left, output_length(length)));
}

int Network::lag(const Resblock& resblock) const {
  int rows = 0;
  for (const ResidualUnit& unit : resblock.units) {
    rows += layers[unit.first].lag();
    if (unit.second) rows += layers[*unit.second].lag();
  }
  return rows;
}

int Network::lag(const Coupling& coupling) const {
  int rows = 0;
  for (const GatedUnit& unit : coupling.units) rows += layers[unit.gate].lag();
  return rows;
}

int Network::flow_lag() const {
  int rows = 0;
  for (const Coupling& coupling : couplings) rows += lag(coupling);
  return rows;
}

Index Network::output_length(Index frames) const {
  Index length = first().output_length(frames);
  for (const Stage& stage : stages) length = layers[stage.upsample].output_length(length);
  return last().output_length(length);
}

Index Network::determined(Index frames) const {
  Index length = first().determined(std::max<Index>(0, frames - flow_lag()));
  for (const Stage& stage : stages) {
    int most = 0;
    for (const Resblock& resblock : stage.resblocks) most = std::max(most, lag(resblock));
    length = std::max<Index>(0, layers[stage.upsample].determined(length) - most);
  }
  return last().determined(length);
}

Index Network::least_frames() const {
  Index least = 1;
  // Rows that a layer reads of the first frame, and of each further one.
  Index rows = 1, rate = 1;
  for (const NetworkLayer& layer : layers) {
    if (layer.kind == LayerKind::kConvTranspose) {
      rows = layer.output_length(rows);
      rate *= layer.stride;
    } else if (layer.padding_mode == PaddingMode::kReflect) {
      const Index missing = std::max<Index>(0, std::max(layer.padding_left, layer.padding_right) + 1 - rows);
      least = std::max(least, 1 + (missing + rate - 1) / rate);
    }
  }
  return least;
}

void Network::check_frames(Index frames) const {
  const Index least = least_frames();
  if (frames < least) throw TooShort(frames, least);
}

TooShort::TooShort(Index frames, Index least)
    : std::invalid_argument("mel has T=" + std::to_string(frames) + " frames: the layers of this generator mirror their input "
                            "at its ends (padding_mode 'reflect'), which needs at least " + std::to_string(least)) {}

namespace {

constexpr const char* kMel = "mel";
// Of a network with a flow: the halves of the input's channels.
constexpr const char* kHalves[] = {"mel.0", "mel.1"};

void require(bool condition, const NetworkLayer& layer, const std::string& rule) {
  if (!condition) throw std::invalid_argument("layer " + layer.name + ": " + rule);
}

void check_sizes(const NetworkLayer& layer) {
  require(layer.in_channels > 0 && layer.out_channels > 0 && layer.kernel_size > 0 && layer.stride > 0 && layer.dilation > 0 &&
              layer.padding_left >= 0 && layer.padding_right >= 0,
          layer, "sizes must be positive");
  const Activation activation = layer.activation;
  require(activation.kind != ActivationKind::kLeakyRelu || (activation.slope >= 0 && activation.slope <= 1), layer,
          "the slope of its activation must be from 0 to 1");
  if (layer.kind == LayerKind::kConv) {
    require(layer.stride == 1, layer, "a convolution has stride 1");
    require(layer.span() == layer.padding_left + layer.padding_right, layer,
            "(kernel - 1) * dilation must be the padding on both sides");
    // So all mirrored rows are there when the first row is computed, and when the last ones are.
    require(layer.padding_mode != PaddingMode::kReflect || layer.span() == 0 ||
                (0 < layer.padding_left && layer.padding_left <= layer.padding_right),
            layer, "of a padding by reflection the left side has at least one row and at most as many as the right");
    return;
  }
  require(layer.dilation == 1, layer, "a transposed convolution has no dilation");
  require(layer.kernel_size >= layer.stride, layer, "the kernel must be at least the stride");
  require(layer.padding_left + layer.padding_right < layer.kernel_size, layer, "one input row must leave an output row");
  require(layer.padding_mode != PaddingMode::kReflect, layer, "a transposed convolution reflects nothing");
  require(layer.out_channels <= layer.in_channels, layer, "it must not have more output channels than input channels");
}

// Goes through the list once, from layer to layer.
class Parser {
 public:
  Parser(std::vector<NetworkLayer> layers, Output output, int conditioning_channels)
      : network_{std::move(layers), {}, {}, 0, output, conditioning_channels} {}

  Network run() {
    if (network_.layers.size() < 4) {
      throw std::invalid_argument("a network has a layer before and one behind at least one stage");
    }
    for (const NetworkLayer& layer : network_.layers) {
      check_sizes(layer);
      require(!layer.conditioning || network_.conditioning_channels > 0, layer, "there is no vector to condition it with");
      require(!layer.gated || (layer.kind == LayerKind::kConv && layer.out_channels % 2 == 0), layer,
              "the channels of a gated convolution have two halves");
    }
    if (at(0).inputs == std::vector<std::string>{kHalves[1]}) {
      flow();
    } else {
      take(LayerKind::kConv, {kMel}, bands(), {});
    }
    if (network_.couplings.empty() && at(next_).kind == LayerKind::kConv) {
      require(at(0).kernel_size == 1, at(0), "a layer before the first convolution has a kernel of 1");
      network_.first_number = take(LayerKind::kConv, {at(0).name}, channels_, {});
    }
    std::vector<std::string> values{network_.first().name};
    while (next_ < last() && at(next_).kind == LayerKind::kConvTranspose) values = stage(values);
    require(!network_.stages.empty(), network_.first(), "at least one stage must follow");
    require(next_ == last(), at(next_), "only the last layer may follow the stages");
    take(LayerKind::kConv, values, channels_, {});
    require(channels_ == 1 && network_.last().dilation == 1, network_.last(),
            "it must have one output channel and no dilation");
    for (std::size_t i = network_.first_number; i <= last(); ++i) require(!at(i).gated, at(i), "only a flow has gated layers");
    return std::move(network_);
  }

 private:
  const NetworkLayer& at(std::size_t layer) const { return network_.layers[layer]; }
  std::size_t last() const { return network_.layers.size() - 1; }
  int bands() const { return network_.bands(); }

  // The number of the next layer, which must be as it is said here.
  std::size_t take(LayerKind kind, const std::vector<std::string>& inputs, int in_channels,
                   const std::optional<std::string>& residual) {
    const NetworkLayer& layer = at(next_);
    require(layer.kind == kind, layer, "another kind of layer must stand here");
    std::string names;
    for (const std::string& input : inputs) names += (names.empty() ? "" : ", ") + input;
    require(layer.inputs == inputs, layer, "it must read " + names);
    require(layer.residual == residual, layer, residual ? *residual + " must be added to it" : "nothing may be added to it");
    require(layer.in_channels == in_channels, layer, "its input channels are not what the layer before it gives");
    require(layer.joins == (inputs == halves_), layer, "the halves of a flow are joined, and nothing else");
    channels_ = layer.value_channels();
    return next_++;
  }

  // The couplings, and the convolution behind them.
  void flow() {
    halves_ = {kHalves[0], kHalves[1]};
    const int half = at(0).in_channels;
    while (next_ < last() && !at(next_).joins) coupling(half);
    network_.first_number = take(LayerKind::kConv, halves_, 2 * half, {});
  }

  void coupling(int half) {
    Coupling coupling{next_, network_.couplings.size() % 2, {}};
    std::string& shifted = halves_[coupling.shifted];
    take_of_flow({halves_[1 - coupling.shifted]}, half, {}, 1);
    const int inner = channels_;
    std::string x = at(coupling.pre).name;
    bool ends = false;
    while (!ends) {
      require(next_ + 2 < last() && at(next_).gated && at(next_).out_channels == 2 * inner, at(next_),
              "a gated convolution must stand here, with twice the channels of its coupling");
      GatedUnit unit{take_of_flow({x}, inner, {}, 0), {}, 0};
      const std::string& gate = at(unit.gate).name;
      ends = at(next_).residual != x;
      if (!ends) {
        unit.residual = take_of_flow({gate}, inner, x, 1);
        require(channels_ == inner, at(*unit.residual), "it must keep the channels of its coupling");
        x = at(*unit.residual).name;
      }
      unit.shift = take_of_flow({gate}, inner, shifted, 1);
      require(channels_ == half, at(unit.shift), "it must give half of the input's channels");
      shifted = at(unit.shift).name;
      coupling.units.push_back(unit);
    }
    network_.couplings.push_back(std::move(coupling));
  }

  // As `take`, with a kernel of so many taps; 0 is any of a gated convolution.
  std::size_t take_of_flow(const std::vector<std::string>& inputs, int in_channels, const std::optional<std::string>& residual,
                           int taps) {
    const NetworkLayer& layer = at(next_);
    require(layer.padding_mode == PaddingMode::kZeros && layer.activation.kind == ActivationKind::kNone, layer,
            "a layer of a flow has zeros at its ends and no activation before it");
    require(layer.gated == (taps == 0) && (taps == 0 || layer.kernel_size == taps), layer,
            "of a flow the gated convolutions alone read more than one row");
    return take(LayerKind::kConv, inputs, in_channels, residual);
  }

  // The names of the values whose mean leaves the stage.
  std::vector<std::string> stage(const std::vector<std::string>& inputs) {
    Stage stage{take(LayerKind::kConvTranspose, inputs, channels_, {}), {}, 0};
    const std::string& upsampled = at(stage.upsample).name;
    std::vector<std::string> values;
    while (next_ < last() && at(next_).kind == LayerKind::kConv) {
      values.push_back(upsampled);
      require(at(next_).padding_mode == at(stage.upsample + 1).padding_mode, at(next_),
              "layers that read the same rows must have the same padding_mode");
      Resblock& resblock = stage.resblocks.emplace_back();
      do {
        resblock.units.push_back(unit(values.back()));
      } while (next_ < last() && at(next_).kind == LayerKind::kConv && at(next_).inputs == std::vector{values.back()});
    }
    require(!stage.resblocks.empty(), at(stage.upsample), "at least one residual block must follow");
    stage.end = next_;
    network_.stages.push_back(std::move(stage));
    return values;
  }

  // Takes a unit that reads `value`, which becomes the unit's own.
  ResidualUnit unit(std::string& value) {
    const int channels = channels_;
    const bool single = at(next_).residual == value;
    ResidualUnit unit{take(LayerKind::kConv, {value}, channels, single ? std::optional(value) : std::nullopt), {}};
    if (!single) {
      require(next_ < last(), at(unit.first), "another convolution must follow in its residual unit");
      unit.second = take(LayerKind::kConv, {at(unit.first).name}, channels, value);
    }
    const NetworkLayer& end = at(unit.second.value_or(unit.first));
    for (const NetworkLayer* layer : {&at(unit.first), &end}) {
      require(layer->out_channels == channels, *layer, "a residual convolution keeps the number of channels");
    }
    value = end.name;
    return unit;
  }

  Network network_;
  std::size_t next_ = 0;
  int channels_ = 0;  // that the last layer taken gives
  std::vector<std::string> halves_;  // of the input, as the couplings so far leave them; empty without a flow
};

}  // namespace

Network make_network(std::vector<NetworkLayer> layers, Output output, int conditioning_channels) {
  return Parser(std::move(layers), output, conditioning_channels).run();
}

}  // namespace hifigan
