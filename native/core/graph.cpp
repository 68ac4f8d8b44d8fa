#include "core/graph.h"

#include <algorithm>
#include <stdexcept>

namespace hifigan {

Index Conv::determined(Index length) const { return std::max<Index>(0, length + padding - span()); }

Index ConvTranspose::determined(Index length) const { return std::max<Index>(0, length * rate - padding); }

int Resblock::lag() const {
  int rows = 0;
  for (const auto& unit : units) {
    for (const Conv& conv : unit) rows += conv.padding;
  }
  return rows;
}

Index Graph::output_length(Index frames) const {
  Index length = pre.output_length(frames);
  for (const Stage& stage : stages) length = stage.upsample.output_length(length);
  return post.output_length(length);
}

Index Graph::determined(Index frames) const {
  Index length = pre.determined(frames);
  for (const Stage& stage : stages) {
    int lag = 0;
    for (const Resblock& resblock : stage.resblocks) lag = std::max(lag, resblock.lag());
    length = std::max<Index>(0, stage.upsample.determined(length) - lag);
  }
  return post.determined(length);
}

namespace {

void require(bool condition, const std::string& name, const char* rule) {
  if (!condition) throw std::invalid_argument("layer " + name + ": " + rule);
}

void check_conv(const Conv& conv, int in_channels) {
  require(conv.in_channels > 0 && conv.out_channels > 0 && conv.kernel_size > 0 && conv.dilation > 0 && conv.padding >= 0,
          conv.name, "sizes must be positive");
  require(conv.in_channels == in_channels, conv.name, "its input channels are not what the layer before it gives");
  require(conv.span() == 2 * conv.padding, conv.name, "(kernel - 1) * dilation must be twice the padding");
}

void check_unit(const std::vector<Conv>& unit, const std::string& stage, int channels) {
  require(unit.size() == 1 || unit.size() == 2, stage, "a residual unit has one or two convolutions");
  for (const Conv& conv : unit) {
    check_conv(conv, channels);
    require(conv.out_channels == channels, conv.name, "a residual convolution keeps the number of channels");
  }
}

}  // namespace

void check(const Graph& graph) {
  check_conv(graph.pre, graph.pre.in_channels);
  int channels = graph.pre.out_channels;
  require(!graph.stages.empty(), graph.pre.name, "at least one stage must follow");
  for (const Stage& stage : graph.stages) {
    const ConvTranspose& up = stage.upsample;
    require(up.in_channels == channels, up.name, "its input channels are not what the layer before it gives");
    require(up.out_channels > 0 && up.rate > 0 && up.kernel_size >= up.rate, up.name, "the kernel must be at least the rate");
    require(up.padding == (up.kernel_size - up.rate) / 2, up.name, "the padding must be (kernel - rate) / 2");
    channels = up.out_channels;
    require(!stage.resblocks.empty(), up.name, "at least one residual block must follow");
    for (const Resblock& resblock : stage.resblocks) {
      require(!resblock.units.empty(), up.name, "a residual block must have units");
      for (const auto& unit : resblock.units) check_unit(unit, up.name, channels);
    }
  }
  check_conv(graph.post, channels);
  require(graph.post.out_channels == 1 && graph.post.dilation == 1, graph.post.name,
          "it must have one output channel and no dilation");
}

}  // namespace hifigan
