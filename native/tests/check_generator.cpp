// Tiny generators of V1's, V2's and V3's shape and relatives through the whole core, for the sanitizers and for emulated
// processors: streams equal the whole bit for bit, threads and batches change nothing, callers may come at once, a stream knows
// its state, nothing is read outside its buffer even at length 1, and the machine's ceilings are measured.
// usage: check_generator [ISA | all]; prints one line per ISA and ends with 1 if anything is wrong.
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <thread>

#include "core/ceiling.h"
#include "core/segment_stream.h"
#include "kernels/cpu_features.h"
#include "networks.h"

namespace {

// Allocations until one fails; below 0 none does.
std::atomic<int> allocations_left{-1};

}  // namespace

// Inlined, their pairs would be taken for different ones.
__attribute__((noinline)) void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  return allocations_left < 0 || allocations_left-- > 0 ? std::malloc(bytes > 0 ? bytes : 1) : nullptr;
}
__attribute__((noinline)) void* operator new(std::size_t bytes) {
  void* const memory = operator new(bytes, std::nothrow);
  if (!memory) throw std::bad_alloc();
  return memory;
}
__attribute__((noinline)) void operator delete(void* memory) noexcept { std::free(memory); }
__attribute__((noinline)) void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace hifigan {
namespace {

int failures = 0;

void expect(bool condition, const char* isa, const std::string& what) {
  if (condition) return;
  std::printf("%s: WRONG: %s\n", isa, what.c_str());
  ++failures;
}

using Samples = std::vector<float>;

bool same(const Samples& a, const Samples& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

// Exactly as long as it must be, so that a sanitizer sees every step beyond it.
Samples random_mel(int bands, Index frames) {
  Samples mel(static_cast<std::size_t>(bands * frames));
  std::mt19937 random(static_cast<unsigned>(frames));
  for (float& value : mel) value = std::uniform_real_distribution<float>(-11.5f, 1.0f)(random);
  return mel;
}

using Shared = std::shared_ptr<LoadedGenerator>;

// Exactly as long as it must be too.
const float* vector_for(const Network& network, Samples& memory) {
  memory.assign(static_cast<std::size_t>(network.conditioning_channels), 0.5f);
  return memory.empty() ? nullptr : memory.data();
}

Samples run(const Shared& generator, const Samples& mel, Index frames) {
  Samples audio(static_cast<std::size_t>(generator->network().output_length(frames))), vector;
  generator->run({{{mel.data(), frames, frames}, audio.data(), vector_for(generator->network(), vector)}}, {});
  return audio;
}

// What a call writes to memory of the size that it asks for.
template <class Call>
Samples samples_of(const Call& call) {
  Samples part;
  call([&](Index samples) {
    part.resize(static_cast<std::size_t>(samples));
    return part.data();
  });
  return part;
}

Samples push(SegmentStream& stream, MelView mel, const StopRequest& stop = {}) {
  return samples_of([&](const Allocate& allocate) { stream.push(mel, allocate, stop); });
}

Samples finish(SegmentStream& stream) {
  return samples_of([&](const Allocate& allocate) { stream.finish(allocate, {}); });
}

Samples push_all(SegmentStream& stream, const Samples& mel, Index frames, Index step) {
  Samples all;
  for (Index at = 0; at < frames; at += step) {
    const Samples part = push(stream, {mel.data() + at, frames, std::min(step, frames - at)});
    all.insert(all.end(), part.begin(), part.end());
  }
  const Samples rest = finish(stream);
  all.insert(all.end(), rest.begin(), rest.end());
  return all;
}

Samples stream(const Shared& generator, const Samples& mel, Index frames, Index step) {
  Samples vector;
  SegmentStream open(generator, generator->plan().segment_frames, vector_for(generator->network(), vector));
  return push_all(open, mel, frames, step);
}

// Of 16 channels, in segments of 4 frames on two threads.
Shared small_generator(const char* isa, const char* name) {
  RandomNetwork network = random_network(name, 16, 10, 3);
  return std::make_shared<LoadedGenerator>(network.network, network.parameters, *find_kernels(isa), 4, 2, ForcedAlgorithms{});
}

void check_network(const char* isa, const std::string& name, int channels, const std::string& algorithm,
                   const char* precision = "float32") {
  RandomNetwork network = random_network(name, channels, 10, 3);
  const int bands = network.network.bands();
  const ForcedAlgorithms forced = algorithm.empty() ? ForcedAlgorithms{} : ForcedAlgorithms{{"*", algorithm}};
  const Kernels& kernels = *find_kernels(isa, precision);
  const auto one = std::make_shared<LoadedGenerator>(network.network, network.parameters, kernels, 4, 1, forced);
  const auto two = std::make_shared<LoadedGenerator>(network.network, network.parameters, kernels, 4, 3, forced);
  const std::string label = name + " " + std::to_string(channels) + " " + algorithm + " " + precision;
  const Index least = one->network().least_frames();
  // Longer than a flow's reach, so that a stream has samples before its end.
  for (const Index frames : {least, least + 1, Index{9} + 2 * one->network().flow_lag()}) {
    const Samples mel = random_mel(bands, frames);
    const Samples whole = run(one, mel, frames);
    for (const float sample : whole) expect(std::isfinite(sample), isa, label + ": not finite");
    expect(same(run(two, mel, frames), whole), isa, label + ": threads change bits");
    for (const Index step : {Index{1}, Index{3}, frames}) {
      expect(same(stream(two, mel, frames, step), whole), isa, label + ": the stream is not the whole");
    }
    std::vector<Samples> audios(7, Samples(whole.size()));
    std::vector<Item> items;
    Samples vector;
    const float* conditioning = vector_for(one->network(), vector);
    for (Samples& audio : audios) items.push_back({{mel.data(), frames, frames}, audio.data(), conditioning});
    two->run(items, {});
    for (const Samples& audio : audios) expect(same(audio, whole), isa, label + ": the batch changes bits");
  }
}

void check_callers(const char* isa) {
  const Shared generator = small_generator(isa, "v1");
  const Samples mel = random_mel(10, 9), expected = run(generator, mel, 9);
  std::vector<std::thread> callers;
  std::atomic<int> wrong{0};
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([&, i] {
      for (int round = 0; round < 3; ++round) {
        wrong += !same(i % 2 ? run(generator, mel, 9) : stream(generator, mel, 9, 2), expected);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  expect(wrong == 0, isa, "callers at once change bits");
  bool interrupted = false;
  try {
    Samples audio(static_cast<std::size_t>(generator->network().output_length(9)));
    generator->run({{{mel.data(), 9, 9}, audio.data()}}, [] { return true; });
  } catch (const Stopped&) {
    interrupted = true;
  }
  expect(interrupted, isa, "a stop request is not heard");
  expect(same(run(generator, mel, 9), expected), isa, "an interruption leaves something behind");
}

template <class Error, class Call>
bool throws(const Call& call) {
  try {
    call();
  } catch (const Error&) {
    return true;
  }
  return false;
}

void check_states(const char* isa) {
  const Shared generator = small_generator(isa, "v3");
  const Samples mel = random_mel(10, 9), expected = run(generator, mel, 9);
  const MelView view{mel.data(), 9, 9};
  SegmentStream stream(generator, 4);
  push_all(stream, mel, 9, 2);
  expect(throws<StreamFinished>([&] { push(stream, view); }), isa, "a finished stream takes frames");
  stream.reset();
  expect(throws<Stopped>([&] { push(stream, view, [] { return true; }); }), isa, "a stream does not hear a stop request");
  expect(throws<StreamBroken>([&] { finish(stream); }) && stream.pending_samples() == 0, isa, "a broken stream goes on");
  stream.reset();
  expect(throws<std::bad_alloc>([&] { stream.push(view, [](Index) -> float* { throw std::bad_alloc(); }, {}); }), isa,
         "no memory is not noticed");
  expect(same(push_all(stream, mel, 9, 9), expected), isa, "a stream is not as it was before");
  stream.reset();
  // The stop request is asked in the middle of the computing.
  bool busy = false;
  push(stream, view, [&] {
    if (!busy) std::thread([&] { busy = throws<StreamBusy>([&] { stream.reset(); }); }).join();
    stream.close();
    return false;
  });
  expect(busy, isa, "two threads use one stream");
  expect(throws<StreamClosed>([&] { push(stream, view); }), isa, "a closed stream takes frames");
  expect(throws<StreamClosed>([&] { static_cast<void>(stream.state_bytes()); }), isa, "a closed stream has a state");
  expect(generator.use_count() == 1, isa, "a closed stream keeps its generator");
}

// What is computed where a computation asks whether to stop, with the threads that it has, or while it waits for them.
void check_interludes(const char* isa) {
  const Shared generator = small_generator(isa, "v1");
  const Samples mel = random_mel(10, 9), expected = run(generator, mel, 9);
  const MelView view{mel.data(), 9, 9};
  for (const bool waiting : {false, true}) {
    SegmentStream stream(generator, 4), before(generator, 4);
    std::atomic<bool> held{!waiting}, free{!waiting};
    std::thread other([&] {
      if (!waiting) return;
      push(before, view, [&] {
        held = true;
        while (!free) std::this_thread::yield();
        return false;
      });
    });
    while (!held) std::this_thread::yield();
    int interludes = 0;
    Samples audio = push(stream, view, [&] {
      free = true;
      SegmentStream inner(generator, 4);
      expect(same(push_all(inner, mel, 9, 3), expected), isa, "an interlude gives other bits");
      ++interludes;
      return false;
    });
    const Samples rest = finish(stream);
    audio.insert(audio.end(), rest.begin(), rest.end());
    expect(interludes > 0 && same(audio, expected), isa, "what was interrupted gives other bits");
    other.join();
  }
}

// Each allocation of a batch fails once, in whatever thread: that ends the batch at most.
void check_no_memory(const char* isa) {
  const Shared generator = small_generator(isa, "v1");
  const Samples mel = random_mel(10, 9), expected = run(generator, mel, 9);
  for (int allocations = 0, failed = 1; failed; ++allocations) {
    std::vector<Samples> audios(3, Samples(expected.size()));
    std::vector<Item> items;
    for (Samples& audio : audios) items.push_back({{mel.data(), 9, 9}, audio.data()});
    allocations_left = allocations;
    const bool thrown = throws<std::bad_alloc>([&] { generator->run(items, {}); });
    failed = allocations_left.exchange(-1) < 0;
    for (const Samples& audio : audios) expect(thrown || same(audio, expected), isa, "no memory gives other bits");
    expect(same(run(generator, mel, 9), expected), isa, "no memory leaves something behind");
  }
}

void check_short(const char* isa) {
  const Shared generator = small_generator(isa, "mirrored");
  // 25 mirrored rows of 8 a frame.
  expect(generator->network().least_frames() == 4, isa, "another least length than the layers ask for");
  const Samples mel = random_mel(10, 9), expected = run(generator, mel, 9);
  SegmentStream stream(generator, 4);
  Samples all = push(stream, {mel.data(), 9, 3});
  expect(throws<TooShort>([&] { finish(stream); }) && stream.pending_samples() == 0, isa, "a short stream is finished");
  for (const Samples& part : {push(stream, {mel.data() + 3, 9, 6}), finish(stream)}) {
    all.insert(all.end(), part.begin(), part.end());
  }
  expect(same(all, expected), isa, "a refused end leaves something behind");
}

void check_ceilings(const char* isa) {
  for (const int threads : {1, 3}) {
    const double speed = multiply_adds_per_second(*find_kernels(isa), threads, 0.002);
    expect(speed > 0 && std::isfinite(speed), isa, "no speed of multiply-adds");
    // Fewer bytes than threads have vectors, and a size that they do not share evenly.
    for (const std::size_t bytes : {std::size_t{1}, std::size_t{100001}}) {
      const MemorySpeed memory = memory_speed(threads, bytes, 0.002);
      expect(memory.read_bytes > 0 && memory.copy_bytes > 0, isa, "no speed of memory");
    }
  }
}

void check_tiles(const char* isa) {
  for (const char* name : {"v1", "odd"}) check_network(isa, name, 48, "", "bfloat16");
  for (const char* name : {"v3", "mirrored"}) check_network(isa, name, 48, "", "bfloat16x3");
  std::printf("%s: checked\n", isa);
}

}  // namespace
}  // namespace hifigan

int main(int count, char** arguments) {
  using namespace hifigan;
  const std::string wanted = count > 1 ? arguments[1] : "all";
  for (const std::string& isa : supported_isas()) {
    if ((wanted != "all" && wanted != isa) || !find_kernels(isa.c_str())) continue;
    for (const char* algorithm : {"", "direct", "fft8", "fft16", "fft32", "fft64"}) {
      for (const char* name : {"v1", "v2", "v3"}) check_network(isa.c_str(), name, name[1] == '2' ? 32 : 48, algorithm);
      check_network(isa.c_str(), "voice", 16, algorithm);
    }
    for (const char* algorithm : {"", "fft32"}) {
      for (const char* name : {"mirrored", "causal", "odd"}) check_network(isa.c_str(), name, 48, algorithm);
    }
    check_callers(isa.c_str());
    check_states(isa.c_str());
    check_interludes(isa.c_str());
    check_no_memory(isa.c_str());
    check_short(isa.c_str());
    check_ceilings(isa.c_str());
    std::printf("%s: checked\n", isa.c_str());
  }
  if (wanted == "all" || wanted == "amx-software") check_tiles("amx-software");
  if (find_kernels("amx") && why_no_tile_unit(true).empty() && (wanted == "all" || wanted == "amx")) check_tiles("amx");
  return failures ? 1 : 0;
}
