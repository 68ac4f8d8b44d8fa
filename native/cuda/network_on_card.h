// A network on a card: its weights, and passes over items of any lengths, each one's bits its own.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "cuda/card.h"
#include "cuda/launch.h"

namespace hifigan::cuda {

// The layers of one launch. In the plan, a branch's addresses are offsets in the weights; `added` is one more than the place of its
// channels among those of all conditioned layers.
struct PlannedLaunch {
  std::string kernel;
  int threads;
  int columns;       // of a block; 0 for kernels that have all of them
  int shared_bytes;
  std::vector<Branch> branches;
  std::vector<int> positions;  // of a tile, for each branch
  std::vector<int> carried;    // values that nothing in this pass reads any more
};

struct CardPlan {
  std::vector<Value> values;  // addresses are buffers' numbers, `saved` places in a state
  std::vector<PlannedLaunch> launches;
  int buffers;
  long long state_bytes;
  int bands;
  int mel;                    // the value that the mel becomes
  int audio;                  // the last layer's
  int ending;
  long long means, scales;    // places in the weights; -1 without normalisation
  int added_channels;         // of all conditioned layers together
};

// Part of a signal: frames that earlier passes took, frames with those of this one, and where it keeps its rows.
struct PassItem {
  long long before, after;
  bool finished;
  DevicePointer state;
};

class NetworkOnCard {
 public:
  // Throws Unavailable, OutOfMemory or DriverError.
  NetworkOnCard(const std::string& driver_path, int device, const std::string& image, CardPlan plan, const std::string& weights);

  const Card& card() const { return card_; }
  int layers() const { return layers_; }  // with the mel
  // Rows of the audio that an item has room for, and those that it gets, in samples.
  long long samples_of(const PassItem& item) const;

  // `mel` float32 [bands][frames of all items], `added` float32 [items][channels] for each conditioned layer in turn, `audio` one
  // place for each item.
  // Returns [items][layers()], the largest magnitude that each layer stored before it was rounded to float16, and the mel's behind
  // them: where one is beyond 65,504, the item's audio is wrong. Throws OutOfMemory or DriverError; rows that items keep are then lost.
  std::vector<float> run(const std::vector<PassItem>& items, const float* mel, const float* added, const std::vector<float*>& audio);

  // Room for the rows that a stream keeps. Throws OutOfMemory.
  DevicePointer take_state();
  void give_state(DevicePointer state);

 private:
  struct Call;

  Card card_;
  CardPlan plan_;
  int layers_ = 1;
  Memory<false> weights_, largest_, workspace_, call_, audio_;
  Memory<true> staging_, received_;
  std::vector<std::unique_ptr<Memory<false>>> slabs_;
  std::vector<DevicePointer> free_states_;
  std::mutex mutex_, states_;
};

}  // namespace hifigan::cuda
