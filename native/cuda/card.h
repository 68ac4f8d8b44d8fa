// One card of this process: its context, a stream of work, a module of kernels, and memory that frees itself.
#pragma once

#include <atomic>
#include <map>
#include <string>
#include <vector>

#include "cuda/driver.h"

namespace hifigan::cuda {

// What the driver tells of a card that nobody uses.
struct CardFacts {
  DeviceHandle device;
  std::string name;
  int capability;  // 80 for 8.0
};

// Throws Unavailable if the card is not there or too old.
CardFacts facts_of(const Driver& driver, int device);

class Card {
 public:
  // At most `memory` bytes are taken of it. Throws Unavailable with the reason and the way out, or OutOfMemory.
  Card(const std::string& driver_path, int device, std::size_t memory);
  ~Card();
  Card(const Card&) = delete;
  Card& operator=(const Card&) = delete;

  // Makes the card this thread's for as long as it lives. Throws DriverError in a forked process.
  class Use {
   public:
    explicit Use(const Card& card);
    ~Use();
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    const Card& card_;
  };

  // The same without an error, for what is freed: whether the card can be used; if so, end_use must follow.
  bool begin_use() const;
  void end_use() const;

  const Driver& driver() const { return driver_; }
  StreamHandle stream() const { return stream_; }
  const std::string& name() const { return name_; }
  bool is_of_this_process() const { return driver_.is_of_this_process(); }
  // Throws DriverError in a forked process.
  void check_process() const;
  std::pair<std::size_t, std::size_t> free_and_total() const;
  // Counts what is taken of the card's memory. Throws OutOfMemory beyond what may be.
  void count(std::size_t bytes) const;
  void discount(std::size_t bytes) const { taken_ -= bytes; }
  void synchronize() const;
  // The number of the card on which an address lies; -1 if the driver knows none.
  int number_of_card(DevicePointer address) const;
  // Lets this card's work wait for what another stream has been given so far; 1 names the default one.
  void wait_for(StreamHandle other) const;

  // Machine code or intermediate code. Throws Unavailable if it is not for this card.
  void load(const std::string& image);
  // Threads may ask for so much shared memory. Throws Unavailable if the module has no such kernel.
  FunctionHandle function(const std::string& kernel, int shared_bytes);

 private:
  Card(const Driver& driver, const CardFacts& facts, std::size_t memory);

  const Driver& driver_;
  const DeviceHandle device_;
  const std::string name_;
  ContextHandle context_ = nullptr;
  StreamHandle stream_ = nullptr;
  ModuleHandle module_ = nullptr;
  std::map<std::string, std::pair<FunctionHandle, int>> functions_;
  std::size_t memory_;
  mutable std::atomic<std::size_t> taken_{0};
};

// A moment of a card's work, which the card notes when it comes to it.
class Moment {
 public:
  // Throws DriverError.
  explicit Moment(const Card& card, bool timed = true);
  ~Moment();
  Moment(const Moment&) = delete;
  Moment& operator=(const Moment&) = delete;
  void note(StreamHandle stream);
  // Waits for it. Throws DriverError.
  void wait() const;
  double microseconds_since(const Moment& before) const;
  EventHandle event() const { return event_; }

 private:
  const Card& card_;
  EventHandle event_ = nullptr;
};

// Memory of the card, or of the host if PINNED, so that copies run beside other work. It grows, and keeps nothing then.
template <bool PINNED>
class Memory {
 public:
  explicit Memory(const Card& card) : card_(card) {}
  ~Memory() { free(); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  // Throws OutOfMemory, with the bytes.
  void reserve(std::size_t bytes);
  void free();
  DevicePointer address() const { return address_; }
  char* host() const { return reinterpret_cast<char*>(static_cast<std::uintptr_t>(address_)); }
  std::size_t size() const { return size_; }

 private:
  const Card& card_;
  DevicePointer address_ = 0;
  std::size_t size_ = 0;
};

}  // namespace hifigan::cuda
