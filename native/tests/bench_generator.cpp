// Times a whole generator with random weights, per stage, in processor time of the calling thread: the smallest of some rounds.
// usage: bench_generator v1|v2|v3|mirrored|causal|odd|piper [frames [segment [threads [rounds [isa[:precision] [tuning
// [layer=algorithm ...]]]]]]] ("*" for all layers)
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <map>

#include "kernels/cpu_features.h"
#include "networks.h"

int main(int count, char** arguments) {
  using namespace hifigan;
  const auto argument = [&](int i, const char* otherwise) { return std::string(i < count ? arguments[i] : otherwise); };
  const std::string name = argument(1, "v1");
  const int frames = std::stoi(argument(2, "250")), segment = std::stoi(argument(3, "256"));
  const int threads = std::stoi(argument(4, "1")), rounds = std::stoi(argument(5, "5"));
  const std::string isa = argument(6, supported_isas().back().c_str());
  const std::size_t colon = isa.find(':');
  const Kernels* kernels =
      find_kernels(isa.substr(0, colon).c_str(), colon == std::string::npos ? "float32" : isa.substr(colon + 1).c_str());
  const bool tiles = kernels && kernels->operands != Format::kFloat32 && isa.compare(0, 4, "amx:") == 0;
  const std::string why = !kernels ? "no such instruction set and precision" : tiles ? why_no_tile_unit(true) : "";
  if (!why.empty()) {
    std::fprintf(stderr, "%s: %s\n", isa.c_str(), why.c_str());
    return 1;
  }
  ForcedAlgorithms forced;
  for (int i = 8; i < count; ++i) {
    const std::string pair = arguments[i];
    forced[pair.substr(0, pair.find('='))] = pair.substr(pair.find('=') + 1);
  }
  const int channels = name == "v2" ? 128 : name == "v3" || name == "piper" ? 256 : 512;
  RandomNetwork network = random_network(name, channels, name == "piper" ? 192 : 80, 1);
  const auto before = std::chrono::steady_clock::now();
  LoadedGenerator generator(network.network, network.parameters, *kernels, segment, threads, forced);
  generator.tune(argument(7, tunings().front().name));
  const std::chrono::duration<double> packing = std::chrono::steady_clock::now() - before;
  const std::vector<float> vector(static_cast<std::size_t>(generator.network().conditioning_channels), 0.5f);
  std::vector<float> mel(static_cast<std::size_t>(generator.network().bands() * frames), 0.0f);
  std::mt19937 random(2);
  for (float& value : mel) value = std::uniform_real_distribution<float>(-11.5f, 1.0f)(random);
  std::vector<float> audio(static_cast<std::size_t>(generator.network().output_length(frames)));
  const NetworkPlan& plan = generator.plan();
  std::vector<double> best(plan.layers.size(), 1e9);
  double best_total = 1e9, best_wall = 1e9;
  for (int i = 0; i < rounds; ++i) {
    const auto start = std::chrono::steady_clock::now();
    const std::vector<double> seconds = generator.measure({{mel.data(), frames, frames}, audio.data(), vector.data()});
    const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - start;
    double total = 0;
    for (std::size_t j = 0; j < best.size(); ++j) {
      best[j] = std::min(best[j], seconds[j]);
      total += seconds[j];
    }
    best_total = std::min(best_total, total);
    best_wall = std::min(best_wall, wall.count());
  }
  double sum = 0;
  std::map<std::string, double> stages;
  for (std::size_t j = 0, stage = 0; j < best.size(); ++j) {
    const PlannedLayer& layer = plan.layers[j];
    stage += layer.operation == Operation::kConvTranspose;
    std::printf("%-26s %-9s %6td rows %8.1f MB  predicted %8.0f us/segment  measured %8.0f us\n", layer.name.c_str(),
                algorithm_of(layer).c_str(), layer.rows, layer.weight_bytes / 1e6, layer.predicted_us, best[j] * 1e6);
    stages[layer.operation == Operation::kConv && j > 0 ? "stage " + std::to_string(stage) : layer.name] += best[j];
    sum += best[j];
  }
  for (const auto& [stage, seconds] : stages) std::printf("%-12s %8.2f ms\n", stage.c_str(), seconds * 1e3);
  const double rate = static_cast<double>(audio.size()) / 22050;
  std::printf("%s %s T=%d S=%d threads=%d: layers %.1f ms, whole %.1f ms, wall %.1f ms; x real time %.2f (wall %.2f); "
              "packing %.2f s, weights %.0f MB\n", name.c_str(), isa.c_str(), frames, segment, threads, sum * 1e3, best_total * 1e3,
              best_wall * 1e3, rate / best_total, rate / best_wall, packing.count(),
              static_cast<double>(generator.weight_bytes()) / 1e6);
}
