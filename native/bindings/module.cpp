// The door between Python and the C++ core: argument types, the GIL, error translation; no arithmetic.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>

#include "core/ceiling.h"
#include "core/generator.h"
#include "kernels/cpu_features.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace hifigan {

namespace {

// name, input channels, output channels, kernel size, dilation (transposed: rate), padding
using LayerSpec = std::tuple<std::string, int, int, int, int, int>;
// upsampling, residual blocks of units of convolutions
using StageSpec = std::tuple<LayerSpec, std::vector<std::vector<std::vector<LayerSpec>>>>;

using Parameter = nb::ndarray<const float, nb::c_contig, nb::device::cpu>;
using Mel = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Mels = nb::ndarray<const float, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using Audio = nb::ndarray<nb::numpy, float, nb::ndim<1>>;
using Audios = nb::ndarray<nb::numpy, float, nb::ndim<2>>;

// Frames of one mel that are accepted; graph.py refuses more with a better text.
constexpr std::size_t kMostFrames = std::size_t{1} << 24;

template <class Layer>
Layer layer_of(const LayerSpec& spec) {
  const auto& [name, in, out, kernel, step, padding] = spec;
  return {name, in, out, kernel, step, padding};
}

Graph graph_of(const LayerSpec& pre, const std::vector<StageSpec>& stages, const LayerSpec& post, float slope,
               float final_slope) {
  Graph graph{layer_of<Conv>(pre), {}, layer_of<Conv>(post), slope, final_slope};
  for (const auto& [upsample, resblocks] : stages) {
    Stage stage{layer_of<ConvTranspose>(upsample), {}};
    for (const auto& units : resblocks) {
      Resblock resblock;
      for (const auto& convs : units) {
        resblock.units.emplace_back();
        for (const LayerSpec& conv : convs) resblock.units.back().push_back(layer_of<Conv>(conv));
      }
      stage.resblocks.push_back(std::move(resblock));
    }
    graph.stages.push_back(std::move(stage));
  }
  return graph;
}

// Asks Python for pending signals from time to time: often enough for Ctrl-C, rarely enough to leave the GIL to others.
class SignalCheck {
 public:
  bool operator()() {
    const auto now = std::chrono::steady_clock::now();
    if (now < next_) return false;
    next_ = now + std::chrono::milliseconds(20);
    const nb::gil_scoped_acquire gil;
    if (PyErr_CheckSignals() == 0) return false;
    error_.emplace();
    return true;
  }
  // The Python exception of the signal's handler.
  [[noreturn]] void raise() {
    if (error_) throw std::move(*error_);
    throw Interrupted();
  }

 private:
  std::chrono::steady_clock::time_point next_ = std::chrono::steady_clock::now() + std::chrono::milliseconds(20);
  std::optional<nb::python_error> error_;
};

// Runs the core without the GIL.
template <class F>
void without_gil(F&& f) {
  SignalCheck signals;
  try {
    const nb::gil_scoped_release release;
    f([&] { return signals(); });
  } catch (const Interrupted&) {
    signals.raise();
  }
}

// Memory that NumPy will own.
std::pair<float*, nb::capsule> new_array(std::size_t size) {
  std::unique_ptr<float[]> data(new float[size]);
  nb::capsule owner(data.get(), [](void* memory) noexcept { delete[] static_cast<float*>(memory); });
  return {data.release(), owner};
}

void check_mel(std::size_t bands, std::size_t frames, const Graph& graph) {
  if (bands != static_cast<std::size_t>(graph.pre.in_channels)) {
    throw std::invalid_argument("mel has " + std::to_string(bands) + " bands: this generator takes " +
                                std::to_string(graph.pre.in_channels));
  }
  if (frames > kMostFrames) {
    throw std::invalid_argument("mel has T=" + std::to_string(frames) + " frames: at most " + std::to_string(kMostFrames) +
                                " are accepted");
  }
}

nb::list plan_as_dicts(const Plan& plan) {
  nb::list layers;
  for (const LayerPlan& layer : plan.layers) {
    nb::dict entry;
    entry["layer"] = layer.name;
    entry["kind"] = layer.kind;
    entry["algorithm"] = name_of(layer.algorithm);
    entry["rows"] = layer.rows;
    entry["block_rows"] = layer.block_rows;
    entry["weight_bytes"] = layer.weight_bytes;
    entry["predicted_us"] = layer.predicted_us;
    layers.append(entry);
  }
  return layers;
}

class PyStream {
 public:
  PyStream(std::unique_ptr<Stream> stream, const Graph& graph) : stream_(std::move(stream)), graph_(graph) {}

  Audio push(const Mel& mel) {
    const auto turn = use();
    check_mel(mel.shape(0), mel.shape(1), graph_);
    const auto frames = static_cast<Index>(mel.shape(1));
    return give(stream_->samples_after_push(frames), [&](float* audio, const StopRequest& stop) {
      stream_->push({mel.data(), frames, frames}, audio, stop);
    });
  }

  Audio finish() {
    const auto turn = use();
    return give(stream_->samples_at_finish(),
                [&](float* audio, const StopRequest& stop) { stream_->finish(audio, stop); });
  }

  int segment_frames() const { return stream_->segment_frames(); }
  std::size_t state_bytes() const { return stream_->state_bytes(); }

 private:
  template <class F>
  Audio give(Index samples, F&& f) {
    const auto size = static_cast<std::size_t>(samples);
    auto [audio, owner] = new_array(size);
    without_gil([&, target = audio](const StopRequest& stop) { f(target, stop); });
    return Audio(audio, {size}, owner);
  }

  std::unique_lock<std::mutex> use() {
    std::unique_lock lock(busy_, std::try_to_lock);
    if (!lock) throw std::runtime_error("the stream is in use by another thread: give each signal its own stream");
    if (stream_->broken()) throw std::runtime_error("the stream was interrupted in the middle of a segment: open a new one");
    if (stream_->finished()) throw std::runtime_error("the stream is finished: open a new one");
    return lock;
  }

  std::mutex busy_;
  std::unique_ptr<Stream> stream_;
  const Graph& graph_;
};

const Kernels& kernels_named(const std::string& isa) {
  for (const std::string& name : supported_isas()) {
    const Kernels* kernels = find_kernels(name.c_str());
    if (name == isa && kernels) return *kernels;
  }
  throw std::invalid_argument("instruction set " + isa + " is not supported by this processor");
}

// More threads than any machine has would only end in an error of the system.
constexpr int kMostThreads = 1024;

void check_ceiling(int threads, double seconds) {
  if (threads < 1 || threads > kMostThreads) throw std::invalid_argument("threads must be from 1 to 1024");
  if (!(seconds > 0 && seconds <= 10)) throw std::invalid_argument("seconds must be above 0, and at most 10");
}

double measure_multiply_adds(const std::string& isa, int threads, double seconds) {
  check_ceiling(threads, seconds);
  const Kernels& kernels = kernels_named(isa);
  const nb::gil_scoped_release release;
  return multiply_adds_per_second(kernels, threads, seconds);
}

std::tuple<double, double> measure_memory(int threads, std::size_t bytes, double seconds) {
  check_ceiling(threads, seconds);
  const nb::gil_scoped_release release;
  const MemorySpeed speed = memory_speed(threads, bytes, seconds);
  return {speed.read_bytes, speed.copy_bytes};
}

class PyGenerator {
 public:
  PyGenerator(const LayerSpec& pre, const std::vector<StageSpec>& stages, const LayerSpec& post, float slope, float final_slope,
              nb::dict weights, const std::string& isa, int segment_frames, int threads, ForcedAlgorithms plan) {
    Graph graph = graph_of(pre, stages, post, slope, final_slope);
    check(graph);
    std::vector<LayerWeights> sources;
    const auto take = [&](const std::string& name, std::vector<int> shape) {
      const int channels = bias_size(shape, name, graph);
      sources.push_back({parameter(weights, name + ".weight", shape), parameter(weights, name + ".bias", {channels})});
    };
    take(graph.pre.name, {graph.pre.out_channels, graph.pre.in_channels, graph.pre.kernel_size});
    for (const Stage& stage : graph.stages) {
      const ConvTranspose& up = stage.upsample;
      take(up.name, {up.in_channels, up.out_channels, up.kernel_size});
      for (const Resblock& resblock : stage.resblocks) {
        for (const auto& unit : resblock.units) {
          for (const Conv& conv : unit) take(conv.name, {conv.out_channels, conv.in_channels, conv.kernel_size});
        }
      }
    }
    take(graph.post.name, {1, graph.post.in_channels, graph.post.kernel_size});
    const nb::gil_scoped_release release;
    generator_ = std::make_unique<Generator>(std::move(graph), std::move(sources), kernels_named(isa), segment_frames, threads,
                                             std::move(plan));
  }

  Audios run(const Mels& mels) {
    const Graph& graph = generator_->graph();
    const std::size_t batch = mels.shape(0), bands = mels.shape(1), frames = mels.shape(2);
    check_mel(bands, frames, graph);
    if (frames == 0) throw std::invalid_argument("mel has T=0 frames: it must have at least 1");
    const auto samples = static_cast<std::size_t>(graph.output_length(static_cast<Index>(frames)));
    auto [audio, owner] = new_array(batch * samples);
    std::vector<Item> items;
    for (std::size_t i = 0; i < batch; ++i) {
      const auto length = static_cast<Index>(frames);
      items.push_back({{mels.data() + i * bands * frames, length, length}, audio + i * samples});
    }
    without_gil([&](const StopRequest& stop) { generator_->run(items, stop); });
    return Audios(audio, {batch, samples}, owner);
  }

  nb::list run_many(const std::vector<Mel>& mels) {
    const Graph& graph = generator_->graph();
    nb::list audios;
    std::vector<Item> items;
    for (const Mel& mel : mels) {
      check_mel(mel.shape(0), mel.shape(1), graph);
      if (mel.shape(1) == 0) throw std::invalid_argument("mel has T=0 frames: it must have at least 1");
      const auto frames = static_cast<Index>(mel.shape(1));
      const auto samples = static_cast<std::size_t>(graph.output_length(frames));
      auto [audio, owner] = new_array(samples);
      items.push_back({{mel.data(), frames, frames}, audio});
      audios.append(Audio(audio, {samples}, owner));
    }
    without_gil([&](const StopRequest& stop) { generator_->run(items, stop); });
    return audios;
  }

  std::vector<double> measure(const Mel& mel) {
    const Graph& graph = generator_->graph();
    check_mel(mel.shape(0), mel.shape(1), graph);
    if (mel.shape(1) == 0) throw std::invalid_argument("mel has T=0 frames: it must have at least 1");
    const auto frames = static_cast<Index>(mel.shape(1));
    std::vector<float> audio(static_cast<std::size_t>(graph.output_length(frames)));
    const nb::gil_scoped_release release;
    return generator_->measure({{mel.data(), frames, frames}, audio.data()});
  }

  std::unique_ptr<PyStream> stream(int segment_frames) {
    std::unique_ptr<Stream> stream;
    {
      const nb::gil_scoped_release release;
      stream = generator_->stream(segment_frames);
    }
    return std::make_unique<PyStream>(std::move(stream), generator_->graph());
  }

  nb::list plan() const { return plan_as_dicts(generator_->plan()); }
  nb::list plan_for(int segment_frames) const { return plan_as_dicts(generator_->plan_for(segment_frames)); }
  std::string isa() const { return generator_->kernels().name; }
  int threads() const { return generator_->threads(); }
  int segment_frames() const { return generator_->plan().segment_frames; }
  std::size_t weight_bytes() { return generator_->weight_bytes(); }

 private:
  static int bias_size(const std::vector<int>& shape, const std::string& name, const Graph& graph) {
    // A transposed convolution has its output channels second.
    for (const Stage& stage : graph.stages) {
      if (stage.upsample.name == name) return shape[1];
    }
    return shape[0];
  }

  const float* parameter(const nb::dict& weights, const std::string& name, const std::vector<int>& shape) {
    if (!weights.contains(name.c_str())) throw std::invalid_argument("weights lack " + name);
    Parameter array;
    if (!nb::try_cast(weights[name.c_str()], array, false)) {
      throw nb::type_error((name + " must be a C-contiguous float32 array in the memory of the CPU").c_str());
    }
    bool fits = array.ndim() == shape.size();
    for (std::size_t i = 0; fits && i < shape.size(); ++i) fits = array.shape(i) == static_cast<std::size_t>(shape[i]);
    if (!fits) throw std::invalid_argument(name + " has another shape than its layer");
    const float* data = array.data();
    parameters_.push_back(std::move(array));
    return data;
  }

  std::vector<Parameter> parameters_;  // keeps the arrays alive
  std::unique_ptr<Generator> generator_;
};

}  // namespace

}  // namespace hifigan

NB_MODULE(_native, m) {
  using hifigan::PyGenerator;
  using hifigan::PyStream;
  m.doc() = "The C++ core of hifigan-rt; use it through the package's public names.";
  m.def("supported_isas", &hifigan::supported_isas,
        "Instruction sets that this processor can run, slowest first: 'generic', 'avx2', 'avx512', 'neon'.");
  m.def("measure_multiply_adds", &hifigan::measure_multiply_adds, "isa"_a, "threads"_a, "seconds"_a,
        "Float32 multiply-adds in registers per second of processor time, of all threads together.");
  m.def("measure_memory", &hifigan::measure_memory, "threads"_a, "bytes"_a, "seconds"_a,
        "Bytes per second read, and copied (read and written counted), from and to buffers of so many bytes.");

  nb::class_<PyStream>(m, "Stream", "One signal, a few frames at a time.")
      .def("push", &PyStream::push, "mel"_a.noconvert(), "Take float32 [M, F]; give the samples that became determined.")
      .def("finish", &PyStream::finish, "End the signal; give the rest of the samples.")
      .def_prop_ro("segment_frames", &PyStream::segment_frames)
      .def_prop_ro("state_bytes", &PyStream::state_bytes);

  nb::class_<PyGenerator>(m, "Generator", "Packed weights, a plan and a pool of threads.")
      .def(nb::init<const hifigan::LayerSpec&, const std::vector<hifigan::StageSpec>&, const hifigan::LayerSpec&, float, float,
                    nb::dict, const std::string&, int, int, hifigan::ForcedAlgorithms>(),
           "pre"_a, "stages"_a, "post"_a, "slope"_a, "final_slope"_a, "weights"_a, "isa"_a, "segment_frames"_a, "threads"_a,
           "plan"_a)
      .def("run", &PyGenerator::run, "mel"_a.noconvert(), "float32 [B, M, T] to float32 [B, N].")
      .def("run_many", &PyGenerator::run_many, "mels"_a, "A list of float32 [M, T] of any lengths to a list of float32 [N].")
      .def("measure", &PyGenerator::measure, "mel"_a.noconvert(), "Seconds per layer of the plan for one float32 [M, T].")
      .def("stream", &PyGenerator::stream, "segment_frames"_a, nb::keep_alive<0, 1>(), "Open a stream.")
      .def("plan", &PyGenerator::plan, "The plan of `run`, one dict per layer.")
      .def("plan_for", &PyGenerator::plan_for, "segment_frames"_a, "The plan for another segment length.")
      .def_prop_ro("isa", &PyGenerator::isa)
      .def_prop_ro("threads", &PyGenerator::threads)
      .def_prop_ro("segment_frames", &PyGenerator::segment_frames)
      .def_prop_ro("weight_bytes", &PyGenerator::weight_bytes);
}
