// A network on a card: its weights, and passes over items of any lengths, each one's bits its own.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "cuda/card.h"
#include "cuda/pass.h"

namespace hifigan::cuda {

// Where audio goes, one place for each item: in host memory, or on the card.
struct Audio {
  std::vector<float*> host;
  std::vector<DevicePointer> on_card;
};

struct Results {
  // [items][CardPlan::reports()], the largest magnitude that each layer stored before it was rounded to float16, and the mel's behind
  // them: where one is beyond 65,504, the item's audio is wrong.
  std::vector<float> largest;
  double microseconds;  // by the card's clock, copies included
  std::vector<std::pair<std::string, double>> steps;  // each kernel's own, if they were asked for
};

class NetworkOnCard {
 public:
  // Takes at most `memory` bytes of the card. Throws Unavailable, OutOfMemory or DriverError.
  NetworkOnCard(const std::string& driver_path, int device, const std::string& image, CardPlan plan, const std::string& weights,
                std::size_t memory);

  const CardPlan& plan() const { return plan_; }
  const Card& card() const { return card_; }
  // Samples that an item gives.
  std::size_t samples_of(const PassItem& item) const;

  // `added` as in Pass. Throws OutOfMemory or DriverError; rows that items keep are then lost.
  Results run(const std::vector<PassItem>& items, const Mels& mels, const float* added, const Audio& audio, bool with_steps);
  // Lets passes from now on wait for what another stream of the card was given so far.
  void wait_for(DevicePointer stream);

  // Room for the rows that a stream keeps. Throws OutOfMemory.
  DevicePointer take_state();
  void give_state(DevicePointer state);

 private:
  class Steps;

  void start(const char* kernel, std::pair<unsigned, unsigned> blocks, int threads, int shared_bytes, void* parameter);

  Card card_;
  CardPlan plan_;
  Memory<false> weights_, largest_, workspace_, upload_, audio_;
  Memory<true> staging_, received_;
  std::vector<std::unique_ptr<Memory<false>>> slabs_;
  std::vector<DevicePointer> free_states_;
  std::mutex mutex_, states_;
};

}  // namespace hifigan::cuda
