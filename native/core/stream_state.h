// What a generator remembers of one signal between segments.
#pragma once

#include <vector>

#include "core/program.h"

namespace hifigan {

// Rows first .. end - 1 of an activation, counted from the start of the signal; `end` rows have been computed so far.
struct Carry {
  float* rows;
  Index floats;  // of a row
  Index capacity;
  Index zeros;  // rows before the signal that are there from the start
  Index first;
  Index end;
};

// Throws std::bad_alloc.
class StreamState {
 public:
  StreamState(const Program& program, Biases biases);

  // Forgets the signal; zeros are the rows before another one, and the biases stay.
  void reset();

  Carry& carry(std::size_t i) { return carries_[i]; }
  // Rows that a residual block has added to its stage's sum.
  Index& summed(std::size_t stage, std::size_t resblock) { return summed_[stage][resblock]; }
  // Input rows that a stage has worked through.
  Index& consumed(std::size_t stage) { return consumed_[stage]; }

  const Biases& biases() const { return biases_; }

  std::size_t bytes() const { return memory_.bytes() + biases_.bytes(); }

  Index samples = 0;  // computed so far

 private:
  Biases biases_;
  AlignedBuffer memory_;
  std::vector<Carry> carries_;
  std::vector<std::vector<Index>> summed_;
  std::vector<Index> consumed_;
};

}  // namespace hifigan
