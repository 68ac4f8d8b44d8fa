// One pass over items of any lengths: where their rows lie on the card, and what each kernel is told. Nothing here calls the driver.
#pragma once

#include <string>
#include <utility>
#include <vector>

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

  const Value& value(int number) const { return values[static_cast<std::size_t>(number)]; }
  // Layers that report the largest magnitude they stored, and the mel.
  int reports() const;
};

// Part of a signal: frames that earlier passes took, frames with those of this one, and where it keeps its rows.
struct PassItem {
  long long before, after;
  bool finished;
  Address state;
};

// A mel in host memory, float32 [bands][frames]; steps are in numbers.
struct HostMel {
  const float* numbers;
  long long band_step, frame_step;
};

// A mel for each item, all in host memory or all on the card.
struct Mels {
  std::vector<HostMel> host;
  std::vector<Source> on_card;
};

// Memory of the card that a pass has.
struct PassMemory {
  Address weights, workspace, audio, upload, largest;
};

class Pass {
 public:
  // `added` float32 [items][channels] for each conditioned layer in turn. What is given must stay until `write_upload`.
  Pass(const CardPlan& plan, const std::vector<PassItem>& items, const Mels& mels, const float* added);

  std::size_t workspace_bytes() const { return workspace_bytes_; }
  std::size_t samples() const;  // of all items, with the room that each has
  std::size_t upload_bytes() const { return upload_bytes_; }
  std::size_t report_bytes() const { return items_.size() * static_cast<std::size_t>(reports_) * 4; }
  std::size_t first_sample(std::size_t item) const;
  std::size_t samples_of(std::size_t item) const;
  bool keeps_rows() const;  // whether an item goes on after this pass

  // Sets the addresses; what follows needs them.
  void lie_in(const PassMemory& memory);
  void write_upload(char* to) const;
  Entry entry() const;
  std::pair<unsigned, unsigned> entry_blocks() const;
  Launch launch(std::size_t number) const;
  std::pair<unsigned, unsigned> blocks(std::size_t number) const;
  std::vector<Carry> carries(std::size_t number) const;

 private:
  // Of what is uploaded; bytes that lie elsewhere until then.
  struct Part {
    const void* from;
    std::size_t bytes, at;
  };
  std::size_t place(const void* from, std::size_t bytes);
  void write_mels(float* to) const;

  const CardPlan& plan_;
  const Mels& mels_;
  PassMemory memory_{};
  std::vector<Item> items_;
  std::vector<Value> values_;
  std::vector<Source> sources_;
  std::vector<std::vector<std::vector<int>>> tiles_;  // of each branch of each launch: those of the items before
  std::vector<std::size_t> starts_;                   // of the buffers in the workspace
  std::vector<Part> parts_;
  std::vector<std::vector<std::size_t>> tiles_at_;
  std::size_t items_at_, values_at_, sources_at_, added_at_, mel_at_;
  std::size_t workspace_bytes_ = 0, upload_bytes_ = 0;
  int frames_ = 0, reports_;
};

}  // namespace hifigan::cuda
