// What Python sees of the C++ core: argument types, the GIL, error translation; no arithmetic.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "bindings/cuda.h"
#include "bindings/gil.h"
#include "bindings/without_gil.h"
#include "core/ceiling.h"
#include "core/loaded_generator.h"
#include "core/segment_stream.h"
#include "core/tuning.h"
#include "kernels/cpu_features.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace hifigan {

namespace {

using Parameter = nb::ndarray<const float, nb::c_contig, nb::device::cpu>;
using Mel = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
// Frames of one band side by side, bands anywhere: also a slice of a longer mel.
using Frames = nb::ndarray<const float, nb::ndim<2>, nb::device::cpu>;
using Mels = nb::ndarray<const float, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using Audio = nb::ndarray<nb::numpy, float, nb::ndim<1>>;
using Audios = nb::ndarray<nb::numpy, float, nb::ndim<2>>;

// A vector for each mel of a call; None where the generator takes none.
using Conditioning = std::optional<nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>>;

template <class Value>
using Words = std::map<std::string, Value>;

const Words<PaddingMode> kPaddingModes = {
    {"zeros", PaddingMode::kZeros}, {"reflect", PaddingMode::kReflect}, {"replicate", PaddingMode::kReplicate}};
const Words<Output> kOutputs = {{"tanh", Output::kTanh}, {"clamp", Output::kClamp}, {"none", Output::kNone}};

void make_layer(NetworkLayer* self, const std::string& name, const std::string& kind, int in_channels, int out_channels,
                int kernel_size, int stride, int dilation, int padding_left, int padding_right, const std::string& padding_mode,
                const std::string& activation, float slope, bool bias, std::vector<std::string> inputs,
                std::optional<std::string> residual, std::optional<std::string> conditioning, bool gated, bool joins) {
  const auto unknown = [&](const char* what, const std::string& value) {
    return std::invalid_argument("layer " + name + ": the core has no " + what + " '" + value + "'");
  };
  NetworkLayer layer{name, LayerKind::kConv, in_channels, out_channels, kernel_size, stride, dilation, padding_left,
                     padding_right, {}, bias, std::move(inputs), std::move(residual), PaddingMode::kZeros,
                     std::move(conditioning), gated, joins};
  if (kind == "conv_transpose") {
    layer.kind = LayerKind::kConvTranspose;
  } else if (kind != "conv") {
    throw unknown("kind of layer", kind);
  }
  const auto mode = kPaddingModes.find(padding_mode);
  if (mode == kPaddingModes.end()) throw unknown("padding_mode", padding_mode);
  layer.padding_mode = mode->second;
  if (activation == "leaky_relu") {
    layer.activation = {ActivationKind::kLeakyRelu, slope};
  } else if (activation != "none") {
    throw unknown("activation", activation);
  }
  new (self) NetworkLayer(std::move(layer));
}

// Memory that NumPy will own.
std::pair<float*, nb::capsule> new_array(std::size_t size) {
  std::unique_ptr<float[]> data(new float[size]);
  nb::capsule owner(data.get(), [](void* memory) noexcept { delete[] static_cast<float*>(memory); });
  return {data.release(), owner};
}

// Only what would be read outside of the array; mels come checked.
void check_bands(std::size_t bands, int expected) {
  if (bands == static_cast<std::size_t>(expected)) return;
  throw std::invalid_argument("mel has " + std::to_string(bands) + " bands: this generator takes " + std::to_string(expected));
}

void check_mel(std::size_t bands, std::size_t frames, const Network& network) {
  check_bands(bands, network.bands());
  if (frames == 0) throw std::invalid_argument("mel has T=0 frames: it must have at least 1");
  network.check_frames(static_cast<Index>(frames));
}

// The vectors of so many mels, one behind the other; null if the generator takes none.
const float* vectors_of(const Conditioning& conditioning, std::size_t mels, const Network& network) {
  const auto channels = static_cast<std::size_t>(network.conditioning_channels);
  if (channels == 0 && !conditioning) return nullptr;
  if (conditioning && channels > 0 && conditioning->shape(0) == mels && conditioning->shape(1) == channels) {
    return conditioning->data();
  }
  throw std::invalid_argument("conditioning must be " + (channels == 0 ? "None" : "float32 [" + std::to_string(mels) + ", " +
                                                                                       std::to_string(channels) + "]"));
}

const float* vector_of(const float* vectors, std::size_t mel, const Network& network) {
  return vectors ? vectors + mel * static_cast<std::size_t>(network.conditioning_channels) : nullptr;
}

nb::list plan_as_dicts(const NetworkPlan& plan) {
  nb::list layers;
  for (const PlannedLayer& layer : plan.layers) {
    nb::dict entry;
    entry["layer"] = layer.name;
    entry["kind"] = name_of(layer.operation);
    entry["algorithm"] = algorithm_of(layer);
    entry["format"] = name_of(layer.format);
    entry["rows"] = layer.rows;
    entry["block_rows"] = layer.block_rows;
    entry["weight_bytes"] = layer.weight_bytes;
    entry["products"] = layer.products;
    entry["predicted_us"] = layer.predicted_us;
    layers.append(entry);
  }
  return layers;
}

// The samples of a call of a stream, in memory that NumPy will own.
template <class Call>
Audio audio_of(const Call& call) {
  std::unique_ptr<float[]> data;
  std::size_t size = 0;
  without_gil(true, [&](const StopRequest& stop) {
    call(
        [&](Index samples) {
          size = static_cast<std::size_t>(samples);
          data.reset(new float[size]);
          return data.get();
        },
        stop);
  });
  nb::capsule owner(data.get(), [](void* memory) noexcept { delete[] static_cast<float*>(memory); });
  return Audio(data.release(), {size}, owner);
}

Audio push(SegmentStream& stream, const Frames& mel) {
  const auto frames = static_cast<Index>(mel.shape(1));
  if (frames > 1 && mel.stride(1) != 1) throw nb::type_error("frames of one band must lie side by side");
  check_bands(mel.shape(0), stream.bands());
  return audio_of([&](const Allocate& allocate, const StopRequest& stop) {
    stream.push({mel.data(), static_cast<Index>(mel.stride(0)), frames}, allocate, stop);
  });
}

Audio finish(SegmentStream& stream) {
  return audio_of([&](const Allocate& allocate, const StopRequest& stop) { stream.finish(allocate, stop); });
}

std::unique_ptr<SegmentStream> open_stream(std::shared_ptr<LoadedGenerator> generator, int segment_frames,
                                           const Conditioning& conditioning) {
  const float* vector = vectors_of(conditioning, 1, generator->network());
  const GilReleased release;
  return std::make_unique<SegmentStream>(std::move(generator), segment_frames, vector);
}

nb::object error_named(const char* name) { return nb::module_::import_("hifigan_rt.errors").attr(name); }

// Raises the class of that name in hifigan_rt.errors, which has the text.
void raise_error(const char* name) { PyErr_SetNone(error_named(name).ptr()); }

void raise_error(const char* name, const char* text) { PyErr_SetString(error_named(name).ptr(), text); }

void translate_errors(const std::exception_ptr& error, void*) {
  try {
    std::rethrow_exception(error);
  } catch (const NotFinite&) {
    raise_error("SamplesNotFinite");
  } catch (const StreamBusy&) {
    raise_error("StreamBusy");
  } catch (const StreamClosed&) {
    raise_error("StreamClosed");
  } catch (const StreamFinished&) {
    raise_error("StreamFinished");
  } catch (const StreamBroken&) {
    raise_error("StreamBroken");
  } catch (const TooShort& error) {
    raise_error("MelError", error.what());
  } catch (const NoThread& error) {
    raise_error("EngineError", error.what());
  }
}

const char* const kSoftwareTiles = "amx-software";

const Kernels& kernels_named(const std::string& isa, const std::string& precision = "float32") {
  const Kernels* kernels = find_kernels(isa.c_str(), precision.c_str());
  const std::vector<std::string> names = supported_isas();
  const bool runs = isa == kSoftwareTiles || std::find(names.begin(), names.end(), isa) != names.end();
  if (!kernels || !runs) {
    throw std::invalid_argument("instruction set " + isa + " in " + precision + " is not supported by this processor or build");
  }
  // Without the system's permission, the first tile would end the process.
  if (kernels->operands != Format::kFloat32 && isa != kSoftwareTiles) {
    const std::string why = why_no_tile_unit(true);
    if (!why.empty()) throw std::invalid_argument("there is no tile unit: " + why);
  }
  return *kernels;
}

// Empty if the instruction set multiplies tiles; else why it does not.
std::string request_tiles(const std::string& isa) {
  if (isa == kSoftwareTiles) return "";
  const bool built = find_kernels("amx") != nullptr;
  const std::string why = why_no_tile_unit(built);
  if (!why.empty()) return why;
  if (!built) return "this build has none: its compiler did not know -mamx-bf16";
  return isa != "amx" ? "HIFIGAN_RT_ISA names another instruction set" : "";
}

double measure_multiply_adds(const std::string& isa, int threads, double seconds, const std::string& precision) {
  const Kernels& kernels = kernels_named(isa, precision);
  const GilReleased release;
  return multiply_adds_per_second(kernels, threads, seconds);
}

std::tuple<double, double> measure_memory(int threads, std::size_t bytes, double seconds) {
  const GilReleased release;
  const MemorySpeed speed = memory_speed(threads, bytes, seconds);
  return {speed.read_bytes, speed.copy_bytes};
}

std::vector<std::string> tuning_names() {
  std::vector<std::string> names;
  for (const Tuning& tuning : tunings()) names.emplace_back(tuning.name);
  return names;
}

std::vector<std::vector<double>> measure_tunings(const std::string& isa, double seconds, LoadedGenerator* lender) {
  const Kernels& kernels = kernels_named(isa);
  const GilReleased release;
  return (lender ? lender->calibrate(seconds) : calibrate(kernels, seconds)).seconds;
}

// An array of exactly this shape, kept alive as long as it is read.
std::shared_ptr<const float> parameter(const nb::dict& weights, const std::string& name, const std::vector<int>& shape) {
  if (!weights.contains(name.c_str())) throw std::invalid_argument("weights lack " + name);
  auto array = std::make_shared<Parameter>();
  if (!nb::try_cast(weights[name.c_str()], *array, false)) {
    throw nb::type_error((name + " must be a C-contiguous float32 array in the memory of the CPU").c_str());
  }
  bool fits = array->ndim() == shape.size();
  for (std::size_t i = 0; fits && i < shape.size(); ++i) fits = array->shape(i) == static_cast<std::size_t>(shape[i]);
  if (!fits) throw std::invalid_argument(name + " has another shape than its layer");
  return {array, array->data()};
}

void load_generator(LoadedGenerator* self, std::vector<NetworkLayer> layers, const nb::dict& weights, const std::string& isa,
                    int segment_frames, int threads, ForcedAlgorithms plan, const std::string& output, bool input_normalization,
                    int conditioning_channels, const std::string& precision) {
  const auto known = kOutputs.find(output);
  if (known == kOutputs.end()) throw std::invalid_argument("the core has no output '" + output + "'");
  Network network = make_network(std::move(layers), known->second, conditioning_channels);
  Parameters sources;
  for (const NetworkLayer& layer : network.layers) {
    const bool conv = layer.kind == LayerKind::kConv;
    const int rows = conv ? layer.out_channels : layer.in_channels, columns = conv ? layer.in_channels : layer.out_channels;
    LayerWeights& source = sources.layers.emplace_back();
    source.weight = parameter(weights, layer.name + ".weight", {rows, columns, layer.kernel_size});
    if (layer.bias) source.bias = parameter(weights, layer.name + ".bias", {layer.out_channels});
    if (!layer.conditioning) continue;
    const std::string weight = *layer.conditioning + ".weight", bias = *layer.conditioning + ".bias";
    source.conditioning_weight = parameter(weights, weight, {layer.out_channels, conditioning_channels, 1});
    if (weights.contains(bias.c_str())) source.conditioning_bias = parameter(weights, bias, {layer.out_channels});
  }
  if (input_normalization) {
    sources.mean = parameter(weights, "mean", {network.bands()});
    sources.scale = parameter(weights, "scale", {network.bands()});
  }
  const GilReleased release;
  new (self) LoadedGenerator(std::move(network), std::move(sources), kernels_named(isa, precision), segment_frames, threads,
                             std::move(plan));
}

Audios run(LoadedGenerator& generator, const Mels& mels, const Conditioning& conditioning) {
  const std::size_t batch = mels.shape(0), bands = mels.shape(1), frames = mels.shape(2);
  check_mel(bands, frames, generator.network());
  const float* vectors = vectors_of(conditioning, batch, generator.network());
  const auto samples = static_cast<std::size_t>(generator.network().output_length(static_cast<Index>(frames)));
  auto [audio, owner] = new_array(batch * samples);
  std::vector<Item> items;
  for (std::size_t i = 0; i < batch; ++i) {
    const auto length = static_cast<Index>(frames);
    items.push_back({{mels.data() + i * bands * frames, length, length}, audio + i * samples,
                     vector_of(vectors, i, generator.network())});
  }
  without_gil(batch == 1, [&](const StopRequest& stop) { generator.run(items, stop); });
  return Audios(audio, {batch, samples}, owner);
}

nb::list run_many(LoadedGenerator& generator, const std::vector<Mel>& mels, const Conditioning& conditioning) {
  const float* vectors = vectors_of(conditioning, mels.size(), generator.network());
  nb::list audios;
  std::vector<Item> items;
  for (const Mel& mel : mels) {
    check_mel(mel.shape(0), mel.shape(1), generator.network());
    const auto frames = static_cast<Index>(mel.shape(1));
    const auto samples = static_cast<std::size_t>(generator.network().output_length(frames));
    auto [audio, owner] = new_array(samples);
    items.push_back({{mel.data(), frames, frames}, audio, vector_of(vectors, items.size(), generator.network())});
    audios.append(Audio(audio, {samples}, owner));
  }
  without_gil(items.size() == 1, [&](const StopRequest& stop) { generator.run(items, stop); });
  return audios;
}

std::vector<double> measure(LoadedGenerator& generator, const Mel& mel, const Conditioning& conditioning) {
  check_mel(mel.shape(0), mel.shape(1), generator.network());
  const float* vector = vectors_of(conditioning, 1, generator.network());
  const auto frames = static_cast<Index>(mel.shape(1));
  std::vector<float> audio(static_cast<std::size_t>(generator.network().output_length(frames)));
  const GilReleased release;
  return generator.measure({{mel.data(), frames, frames}, audio.data(), vector});
}

}  // namespace

}  // namespace hifigan

NB_MODULE(_native, m) {
  using namespace hifigan;
  m.doc() = "The C++ core of hifigan-rt; use it through the package's public names.";
  nb::register_exception_translator(translate_errors);
  // What a daemon thread uses when the process ends is still there, by no fault of the binding.
  nb::set_leak_warnings(false);
  bind_cuda(m);
  m.def("supported_isas", &supported_isas,
        "Instruction sets that this processor can run, slowest first: 'generic', 'avx2', 'avx512', 'amx', 'neon'.");
  m.def("request_tiles", &request_tiles, "isa"_a,
        "Ask the system for the tile unit; give why an instruction set has none, empty for 'amx' with it and 'amx-software'.");
  m.def("measure_multiply_adds", &measure_multiply_adds, "isa"_a, "threads"_a, "seconds"_a, "precision"_a = "float32",
        "Multiply-adds in registers per second of processor time, of all threads together.");
  m.def("measure_memory", &measure_memory, "threads"_a, "bytes"_a, "seconds"_a,
        "Bytes per second read, and copied (read and written counted), from and to buffers of so many bytes.");

  m.def("call_interruptible", &call_interruptible, "function"_a, "interlude"_a,
        "Call a function; whenever the core has computed in it for a while, `interlude` is called, which may compute as well.");
  m.def("tunings", &tuning_names, "Names of the ways through the caches; the first is used where nothing was measured.");
  m.def("second_cache_bytes", &second_cache_bytes, "Bytes of a core's second cache, as the engine takes it.");

  nb::class_<SegmentStream>(m, "SegmentStream",
                            "One signal, a few frames at a time. It is open, finished, broken or closed, and in use by at most "
                            "one thread; what is not possible raises StreamFinished, StreamBroken, StreamClosed or StreamBusy.")
      .def("push", &push, "mel"_a.noconvert(),
           "Take float32 [M, F], the frames of one band side by side; give the samples that became determined.")
      .def("finish", &finish, "End the signal; give the rest of the samples.")
      .def("reset", &SegmentStream::reset, "Forget the signal and wait for another one.")
      .def("close", &SegmentStream::close, "Free the memory; closing twice is allowed.")
      .def_prop_ro("segment_frames", &SegmentStream::segment_frames)
      .def_prop_ro("state_bytes", &SegmentStream::state_bytes)
      .def_prop_ro("frames", &SegmentStream::frames, "Frames taken in.")
      .def_prop_ro("pending_samples", &SegmentStream::pending_samples, "Samples that `finish` would give now.");

  nb::class_<NetworkLayer>(m, "NetworkLayer",
                           "One layer of the network, as `hifigan_rt.graph.Layer` has it; `kind` is 'conv' or 'conv_transpose', "
                           "`activation` 'none' or 'leaky_relu' with a slope from 0 to 1.")
      .def("__init__", &make_layer, nb::kw_only(), "name"_a, "kind"_a, "in_channels"_a, "out_channels"_a, "kernel_size"_a,
           "stride"_a, "dilation"_a, "padding_left"_a, "padding_right"_a, "padding_mode"_a, "activation"_a, "slope"_a, "bias"_a,
           "inputs"_a, "residual"_a.none(), "conditioning"_a.none(), "gated"_a = false, "joins"_a = false);

  nb::class_<LoadedGenerator>(m, "LoadedGenerator", "Packed weights, a plan and a pool of threads.")
      .def("__init__", &load_generator, "layers"_a, "weights"_a, "isa"_a, "segment_frames"_a, "threads"_a, "plan"_a,
           nb::kw_only(), "output"_a = "tanh", "input_normalization"_a = false, "conditioning_channels"_a = 0,
           "precision"_a = "float32")
      .def("run", &run, "mel"_a.noconvert(), "conditioning"_a.noconvert().none() = nb::none(),
           "float32 [B, M, T], with float32 [B, G] if the generator is conditioned, to float32 [B, N].")
      .def("run_many", &run_many, "mels"_a, "conditioning"_a.noconvert().none() = nb::none(),
           "A list of float32 [M, T] of any lengths, with float32 [B, G], to a list of float32 [N].")
      .def("measure", &measure, "mel"_a.noconvert(), "conditioning"_a.noconvert().none() = nb::none(),
           "Seconds per layer of the plan for one float32 [M, T], with float32 [1, G].")
      .def("stream", &open_stream, "segment_frames"_a, "conditioning"_a.noconvert().none() = nb::none(),
           "Open a stream, with float32 [1, G].")
      .def(
          "plan", [](const LoadedGenerator& self) { return plan_as_dicts(self.plan()); },
          "The plan of `run`, one dict per layer.")
      .def(
          "plan_for",
          [](const LoadedGenerator& self, int segment_frames) { return plan_as_dicts(self.plan_for(segment_frames)); },
          "segment_frames"_a, "The plan for another segment length.")
      .def("tune", &LoadedGenerator::tune, "name"_a, "Take another way through the caches from now on; changes no bit.")
      .def_prop_ro("tuning", [](const LoadedGenerator& self) { return self.tuning().name; })
      .def_prop_ro("isa", [](const LoadedGenerator& self) { return self.kernels().name; })
      .def_prop_ro("threads", &LoadedGenerator::threads)
      .def_prop_ro("segment_frames", [](const LoadedGenerator& self) { return self.plan().segment_frames; })
      .def_prop_ro("weight_bytes", &LoadedGenerator::weight_bytes);
  m.def("measure_tunings", &measure_tunings, "isa"_a, "seconds"_a, "lender"_a.none() = nb::none(),
        "Seconds of processor time of one layer, [round][tuning], with direct convolution behind the last tuning. Weights are "
        "read from the memory of `lender`, as far as it reaches.");
}
