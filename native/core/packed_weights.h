// The weights of a generator, laid out for the algorithms that its plans use; each layout is made once.
#pragma once

#include <map>
#include <memory>
#include <mutex>
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
};

class PackedWeights {
 public:
  // `sources` are as many as the network's layers.
  PackedWeights(const Network& network, const Kernels& isa, std::vector<LayerWeights> sources);

  // Lays out what the plan needs and is not there yet, on all threads of the pool, which the caller holds.
  // Throws std::bad_alloc.
  void prepare(const NetworkPlan& plan, ThreadPool& pool);

  // A layer by its number; `prepare` must have seen it.
  const float* weights(std::size_t layer, Algorithm algorithm) const { return packed_.at({layer, algorithm}).data(); }
  const float* bias(std::size_t layer) const { return biases_.at(layer).data(); }
  std::size_t bytes() const;

 private:
  struct Packing {
    std::size_t size;  // floats
    int units;
    void (*pack)(const PackArgs&);
  };

  Packing packing_of(std::size_t layer, Algorithm algorithm) const;

  const Network& network_;
  const Kernels& isa_;
  std::vector<LayerWeights> sources_;
  std::vector<AlignedBuffer> biases_;
  std::map<std::pair<std::size_t, Algorithm>, AlignedBuffer> packed_;
};

}  // namespace hifigan
