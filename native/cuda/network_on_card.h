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

struct Results {
  // Samples of each item, in memory that is the pass's own; none if they stay on the card.
  std::vector<std::pair<const float*, std::size_t>> audio;
  // [items][CardPlan::reports()], the largest magnitude that each layer stored before it was rounded to float16, and the mel's behind
  // them: where one is beyond 65,504, the item's audio is wrong.
  const float* largest;
  std::size_t items;
  double microseconds;  // by the card's clock, copies included
  std::vector<std::pair<std::string, double>> steps;  // each kernel's own, if they were asked for
};

class NetworkOnCard {
 public:
  class PassUnderWay;

  // Takes at most `memory` bytes of the card. Throws Unavailable, OutOfMemory or DriverError.
  NetworkOnCard(const std::string& driver_path, int device, const std::string& image, CardPlan plan, const std::string& weights,
                std::size_t memory);
  ~NetworkOnCard();

  const CardPlan& plan() const { return plan_; }
  const Card& card() const { return card_; }
  // Samples that an item gives.
  std::size_t samples_of(const PassItem& item) const;

  // Begins a pass; the card computes those of all threads in the order of their beginnings. `added` as in Pass; audio comes to the
  // host unless there are places on the card for it. Throws OutOfMemory or DriverError; rows that items keep are then lost.
  std::unique_ptr<PassUnderWay> begin(const std::vector<PassItem>& items, const Mels& mels, const float* added,
                                      const std::vector<DevicePointer>& places, bool with_steps);
  // Lets passes from now on wait for what another stream of the card was given so far.
  void wait_for(DevicePointer stream);

  // Room for the rows that a stream keeps. Throws OutOfMemory.
  DevicePointer take_state();
  void give_state(DevicePointer state);

 private:
  struct PassBuffers;
  class Steps;

  void start(const char* kernel, std::pair<unsigned, unsigned> blocks, int threads, int shared_bytes, void* parameter);
  std::unique_ptr<PassBuffers> take_buffers();
  void drop_idle_buffers();

  Card card_;
  CardPlan plan_;
  Memory<false> weights_, workspace_;
  std::vector<std::unique_ptr<PassBuffers>> free_buffers_;
  std::vector<std::unique_ptr<Memory<false>>> slabs_;
  std::vector<DevicePointer> free_states_;
  std::mutex mutex_, buffers_mutex_, states_;
};

// A pass that was begun; the network must outlive it.
class NetworkOnCard::PassUnderWay {
 public:
  PassUnderWay(NetworkOnCard& network, std::unique_ptr<PassBuffers> buffers, std::unique_ptr<Steps> steps);
  // Waits for its end, however it is, and for nothing behind it.
  ~PassUnderWay();
  PassUnderWay(const PassUnderWay&) = delete;
  PassUnderWay& operator=(const PassUnderWay&) = delete;

  // Waits for what it gives, which lies in memory of its own. Throws DriverError.
  Results results();

 private:
  friend class NetworkOnCard;

  NetworkOnCard& network_;
  std::unique_ptr<PassBuffers> buffers_;
  std::unique_ptr<Steps> steps_;
  Moment began_, ended_;
  std::vector<std::pair<std::size_t, std::size_t>> samples_;  // of each item: the first, and how many
  std::size_t audio_bytes_ = 0, items_ = 0;
  bool noted_ = false, waited_ = false;  // its end
};

}  // namespace hifigan::cuda
