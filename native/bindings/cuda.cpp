// What Python sees of the engine on NVIDIA's cards: plans as dicts, arrays, errors; no arithmetic.
#include "bindings/cuda.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <memory>

#include "bindings/gil.h"
#include "cuda/network_on_card.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace hifigan {

namespace {

using namespace cuda;

template <class Type>
void read(const nb::dict& from, const char* name, Type& to) {
  to = nb::cast<Type>(from[name]);
}

Value value_of(const nb::dict& from) {
  Value value{};
  read(from, "buffer", value.rows);
  read(from, "saved", value.saved);
  read(from, "chunks", value.chunks);
  read(from, "planes", value.planes);
  read(from, "rate", value.rate);
  read(from, "lag", value.lag);
  read(from, "surplus", value.surplus);
  read(from, "kept", value.kept);
  read(from, "slope", value.slope);
  read(from, "gain", value.gain);
  value.unslope = 1.0f / value.slope, value.down = 1.0f / value.gain;
  return value;
}

Branch branch_of(const nb::dict& from) {
  Branch branch{};
  const auto inputs = nb::cast<std::vector<int>>(from["inputs"]);
  if (inputs.size() > kMaxInputs) throw std::invalid_argument("a layer reads more values than the kernels take");
  std::copy(inputs.begin(), inputs.end(), branch.inputs);
  branch.input_count = static_cast<int>(inputs.size());
  branch.part = 1.0f / static_cast<float>(branch.input_count);
  read(from, "output", branch.output);
  read(from, "residual", branch.residual);
  read(from, "taps", branch.taps);
  read(from, "dilation", branch.dilation);
  read(from, "left", branch.left);
  read(from, "padding", branch.padding);
  read(from, "stride", branch.stride);
  read(from, "shift", branch.shift);
  read(from, "taps_at_once", branch.taps_at_once);
  read(from, "places", branch.places);
  read(from, "slope", branch.slope);
  read(from, "scale", branch.scale);
  read(from, "gain", branch.gain);
  read(from, "weights", branch.weights);
  read(from, "biases", branch.biases);
  read(from, "added", branch.added);
  read(from, "second_taps", branch.second_taps);
  read(from, "second_left", branch.second_left);
  read(from, "second_slope", branch.second_slope);
  read(from, "second_scale", branch.second_scale);
  read(from, "second_gain", branch.second_gain);
  branch.up = 1.0f / branch.gain, branch.second_up = 1.0f / branch.second_gain;
  read(from, "columns", branch.columns);
  read(from, "layer", branch.layer);
  return branch;
}

CardPlan plan_of(const nb::dict& from) {
  CardPlan plan{};
  for (const nb::handle value : from["values"]) plan.values.push_back(value_of(nb::cast<nb::dict>(value)));
  for (const nb::handle handle : from["launches"]) {
    const auto given = nb::cast<nb::dict>(handle);
    PlannedLaunch launch{};
    read(given, "kernel", launch.kernel);
    read(given, "threads", launch.threads);
    read(given, "columns", launch.columns);
    read(given, "shared_bytes", launch.shared_bytes);
    read(given, "positions", launch.positions);
    read(given, "carried", launch.carried);
    for (const nb::handle branch : given["branches"]) launch.branches.push_back(branch_of(nb::cast<nb::dict>(branch)));
    if (launch.branches.empty() || launch.branches.size() > kMaxBranches || launch.positions.size() != launch.branches.size())
      throw std::invalid_argument("a launch has other branches than the kernels take");
    plan.launches.push_back(std::move(launch));
  }
  read(from, "buffers", plan.buffers);
  read(from, "state_bytes", plan.state_bytes);
  read(from, "bands", plan.bands);
  read(from, "mel", plan.mel);
  read(from, "audio", plan.audio);
  read(from, "ending", plan.ending);
  read(from, "means", plan.means);
  read(from, "scales", plan.scales);
  read(from, "added_channels", plan.added_channels);
  return plan;
}

void load(NetworkOnCard* self, const std::string& driver, int device, const nb::bytes& image, const nb::dict& plan, const nb::bytes& weights,
          std::size_t memory) {
  CardPlan planned = plan_of(plan);
  const std::string code(image.c_str(), image.size()), numbers(weights.c_str(), weights.size());
  const GilReleased release;
  new (self) NetworkOnCard(driver, device, code, std::move(planned), numbers, memory);
}

using Floats = nb::ndarray<const float, nb::c_contig, nb::device::cpu>;
using HostArray = nb::ndarray<const float, nb::ndim<2>, nb::device::cpu>;

nb::object array_of(std::unique_ptr<float[]> data, std::initializer_list<std::size_t> shape) {
  nb::capsule owner(data.get(), [](void* memory) noexcept { delete[] static_cast<float*>(memory); });
  return nb::cast(nb::ndarray<nb::numpy, float>(data.release(), shape, owner));
}

template <class Type>
Type part(const nb::handle& tuple, std::size_t index) {
  return nb::cast<Type>(nb::cast<nb::tuple>(tuple)[index]);
}

std::vector<PassItem> items_of(const nb::list& given) {
  std::vector<PassItem> items;
  for (const nb::handle item : given)
    items.push_back({part<long long>(item, 0), part<long long>(item, 1), part<bool>(item, 2), part<DevicePointer>(item, 3)});
  return items;
}

// A pass as Python has it. One whose results nobody took is waited for when it is freed, without the GIL.
struct HeldPass {
  explicit HeldPass(std::unique_ptr<NetworkOnCard::PassUnderWay> begun) : pass(std::move(begun)) {}
  HeldPass(HeldPass&&) = default;
  ~HeldPass() {
    if (pass == nullptr) return;
    const GilReleased release;
    pass.reset();
  }
  std::unique_ptr<NetworkOnCard::PassUnderWay> pass;
};

template <class Work>
auto without_gil(const Work& work) {
  const GilReleased release;
  return work();
}

HeldPass begin(NetworkOnCard& self, const nb::list& given, const std::vector<HostArray>& arrays, const Floats& added, bool with_steps) {
  const std::vector<PassItem> items = items_of(given);
  Mels mels;
  if (arrays.size() != items.size()) throw std::invalid_argument("each item has its mel");
  for (std::size_t i = 0; i < items.size(); ++i) {
    const HostArray& array = arrays[i];
    if (static_cast<long long>(array.shape(1)) != items[i].after - items[i].before || static_cast<int>(array.shape(0)) != self.plan().bands)
      throw std::invalid_argument("a mel has other bands or frames than its item");
    mels.host.push_back({array.data(), array.stride(0), array.stride(1)});
  }
  return HeldPass(without_gil([&] { return self.begin(items, mels, added.data(), {}, with_steps); }));
}

HeldPass begin_on_card(NetworkOnCard& self, const nb::list& given, const nb::list& arrays, const Floats& added,
                       const std::vector<DevicePointer>& places) {
  const std::vector<PassItem> items = items_of(given);
  Mels mels;
  for (const nb::handle mel : arrays)
    mels.on_card.push_back({part<Address>(mel, 0), part<long long>(mel, 1), part<long long>(mel, 2), static_cast<Number>(part<int>(mel, 3))});
  if (mels.on_card.size() != items.size() || places.size() != items.size())
    throw std::invalid_argument("each item has its mel and its place for audio");
  return HeldPass(without_gil([&] { return self.begin(items, mels, added.data(), places, false); }));
}

nb::tuple results(const HeldPass& self, int reports) {
  const Results results = without_gil([&] { return self.pass->results(); });
  nb::list audios;
  std::vector<float*> places;
  for (const auto& [from, count] : results.audio) {
    std::unique_ptr<float[]> data(new float[std::max<std::size_t>(count, 1)]);  // make_unique would fill it with zeros first
    places.push_back(data.get());
    audios.append(array_of(std::move(data), {count}));
  }
  const std::size_t reported = results.items * static_cast<std::size_t>(reports);
  auto largest = std::make_unique<float[]>(std::max<std::size_t>(reported, 1));
  std::copy_n(results.largest, reported, largest.get());
  {
    const GilReleased release;
    for (std::size_t i = 0; i < places.size(); ++i) std::copy_n(results.audio[i].first, results.audio[i].second, places[i]);
  }
  return nb::make_tuple(audios, array_of(std::move(largest), {results.items, static_cast<std::size_t>(reports)}), results.microseconds,
                        results.steps);
}

// What DLPack says of an array on a card; the array itself stays its owner's.
nb::tuple describe(const nb::ndarray<nb::ro, nb::device::cuda>& array) {
  nb::list shape, steps;
  for (std::size_t axis = 0; axis < array.ndim(); ++axis) {
    shape.append(array.shape(axis));
    steps.append(array.stride(axis));
  }
  return nb::make_tuple(reinterpret_cast<std::uintptr_t>(array.data()), array.device_id(), nb::make_tuple(array.dtype().code, array.dtype().bits),
                        nb::tuple(shape), nb::tuple(steps));
}

void translate(const std::exception_ptr& error, void*) {
  const auto raise = [](const char* name, const char* text) {
    PyErr_SetString(nb::module_::import_("hifigan_rt.errors").attr(name).ptr(), text);
  };
  try {
    std::rethrow_exception(error);
  } catch (const Unavailable& found) {
    raise("EngineUnavailable", found.what());
  } catch (const DriverError& found) {
    raise("EngineError", found.what());
  }
}

}  // namespace

void bind_cuda(nb::module_& m) {
  nb::register_exception_translator(translate);
  m.def(
      "cuda_device",
      [](const std::string& driver, int device) {
        const auto [facts, version] = without_gil([&] {
          const Driver& opened = open_driver(driver);
          return std::pair(facts_of(opened, device), opened.version);
        });
        return nb::make_tuple(facts.name, facts.capability, version);
      },
      "driver"_a, "device"_a,
      "Name, compute capability (80 for 8.0) and the driver's CUDA version (12090 for 12.9) of a card; EngineUnavailable says why not. "
      "The card is not used for it. `driver` names its library, empty for the system's.");
  m.def("describe_dlpack", &describe, "array"_a,
        "Address, number of the card, (code, bits) of the dtype, shape and steps of an array on a card: an object of DLPack, or its capsule.");
  nb::class_<HeldPass>(m, "CudaPass", "A pass that was begun.");
  nb::class_<NetworkOnCard>(m, "CudaNetwork", "A network on a card of NVIDIA's. Safe to use from several threads, in turn.")
      .def("__init__", &load, "driver"_a, "device"_a, "image"_a, "plan"_a, "weights"_a, "memory"_a)
      .def("begin", &begin, "items"_a, "mels"_a.noconvert(), "added"_a.noconvert(), "with_steps"_a = false, nb::keep_alive<0, 1>(),
           "Begin to compute items (frames before, frames after, whether the signal ends, state) of float32 [M, F_i].")
      .def("begin_on_card", &begin_on_card, "items"_a, "mels"_a, "added"_a.noconvert(), "audios"_a, nb::keep_alive<0, 1>(),
           "The same with mels on the card, (address, band step, frame step, kind of number), and addresses of float32 for the audio.")
      .def("results", [](const NetworkOnCard& self, const HeldPass& begun) { return results(begun, self.plan().reports()); }, "begun"_a,
           "Wait for a pass: float32 [n] each, unless they stay on the card; [items, layers + 1], the largest magnitude that each layer "
           "stored, the mel's behind them; the card's microseconds; and on demand those of each kernel, by its name.")
      .def("samples_of", [](const NetworkOnCard& self, const nb::tuple& item) {
             return self.samples_of({part<long long>(item, 0), part<long long>(item, 1), part<bool>(item, 2), 0});
           }, "item"_a, "Samples that an item gives.")
      .def_prop_ro("stream", [](const NetworkOnCard& self) { return reinterpret_cast<std::uintptr_t>(self.card().stream()); },
                   "The stream on which it computes, by the driver's handle.")
      .def("number_of_card", [](const NetworkOnCard& self, DevicePointer address) { return self.card().number_of_card(address); }, "address"_a,
           nb::call_guard<GilReleased>(),
           "The number of the card on which an address lies; -1 if the driver knows none.")
      .def("wait_for", &NetworkOnCard::wait_for, "stream"_a, nb::call_guard<GilReleased>(),
           "Let passes from now on wait for what another stream was given so far; 1 is the default one.")
      .def("take_state", &NetworkOnCard::take_state, nb::call_guard<GilReleased>(), "Room for a stream's rows.")
      .def("give_state", &NetworkOnCard::give_state, "state"_a, nb::call_guard<GilReleased>());
}

}  // namespace hifigan
