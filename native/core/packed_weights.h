// The weights of a generator, laid out for the algorithms that its plans use; each layout is made once.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "core/aligned_buffer.h"
#include "core/plan.h"
#include "core/thread_pool.h"

namespace hifigan {

// One layer's parameters as the checkpoint has them, float32: conv [C_out][C_in][K], transposed [C_in][C_out][K]; bias [C_out],
// or null for none.
struct LayerWeights {
  std::shared_ptr<const float> weight, bias;
  // Of the 1x1 convolution of the conditioning vector: [C_out][G], [C_out] or null for none.
  std::shared_ptr<const float> conditioning_weight, conditioning_bias;
};

struct Parameters {
  std::vector<LayerWeights> layers;          // as many as the network's
  std::shared_ptr<const float> mean, scale;  // per band, if the input is normalised; else null
};

// What is added to every row of each layer's result, for one signal.
class Biases {
 public:
  const float* of(std::size_t layer) const { return biases_[layer]; }
  std::size_t bytes() const;

 private:
  friend class PackedWeights;
  std::vector<const float*> biases_;
  std::vector<AlignedBuffer> conditioned_;
};

class PackedWeights {
 public:
  PackedWeights(const Network& network, const Kernels& isa, Parameters sources);

  // Lays out what the plan needs and is not there yet, on all threads of the pool, which the caller holds.
  // Throws std::bad_alloc.
  void prepare(const NetworkPlan& plan, ThreadPool& pool);

  // A layer by its number; `prepare` must have seen it.
  const float* weights(std::size_t layer, Algorithm algorithm) const { return packed_.at({layer, algorithm}); }
  // The layers' biases, with what the vector of G values adds; null if the network takes none. They do not outlive this.
  Biases biases(const float* conditioning) const;
  // Null if the input is not normalised.
  const float* mean() const { return sources_.mean.get(); }
  const float* scale() const { return sources_.scale.get(); }
  std::size_t bytes() const;
  // All that is laid out; none of it moves or goes before this does.
  std::vector<const AlignedBuffer*> buffers() const;

 private:
  struct Packing {
    std::size_t size;  // floats
    int units;
    void (*pack)(const PackArgs&);
  };

  Packing packing_of(std::size_t layer, Algorithm algorithm) const;

  const Network& network_;
  const Kernels& isa_;
  Parameters sources_;
  std::vector<AlignedBuffer> biases_;
  // One for each plan: a single layer's weights are often smaller than a large page.
  std::deque<AlignedBuffer> buffers_;
  std::map<std::pair<std::size_t, Algorithm>, const float*> packed_;
};

}  // namespace hifigan
