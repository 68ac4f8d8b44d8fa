// Who touched a word of memory last, and whether anything orders that before who touches it now: a barrier of the block or of the
// warp, the end of a launch. A card shows races at some time or never; here they are errors.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>

namespace hifigan::cuda {

struct IllegalAccess : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A thread of the block at work, and how many barriers of its warp it has passed since the block's last.
struct Moment {
  std::uint32_t thread, step;
};

// A word of memory.
class Watch {
 public:
  // The number of the time between two barriers of a block, which no other has.
  static inline std::uint32_t now = 1, block_start = 1, launch_start = 1;

  static void start_launch() { launch_start = block_start = ++now; }
  static void start_block() { block_start = ++now; }
  static void pass_barrier() { ++now; }

  // `since` is when those began whose touches may clash: a launch, or a block whose own the memory is.
  void read(const Moment& by, std::uint32_t since) {
    if (clashes(write_, by, since)) fail(by, "reads", "wrote");
    Who who = kThread;
    if (read_.when >= since) {
      const bool same_warp = read_.thread / 32 == by.thread / 32, same = read_.thread == by.thread;
      if (read_.when < block_start || read_.who == kBlocks) {
        who = kBlocks;
      } else if (read_.when == now) {
        if (!same_warp || read_.who == kWarps) who = kWarps;
        else if (read_.step == by.step && (!same || read_.who == kLanes)) who = kLanes;
      }
    }
    read_ = Touch(by, who);
  }
  void write(const Moment& by, std::uint32_t since) {
    if (clashes(write_, by, since)) fail(by, "writes", "wrote");
    if (clashes(read_, by, since)) fail(by, "writes", "read");
    write_ = Touch(by, kThread);
  }
  // A copy writes at some time between its start and the wait for it.
  void start_copy(const Moment& by) {
    write(by, block_start);
    write_.who = kCopy;
  }
  void end_copy(const Moment& by) { write_ = Touch(by, kThread); }

 private:
  // Since one time began: one thread, several of a warp, of a block, of a launch, or a copy that nobody waited for.
  enum Who : std::uint32_t { kThread, kLanes, kWarps, kBlocks, kCopy };
  struct Touch {
    std::uint32_t when = 0, thread : 11 = 0, step : 18 = 0, who : 3 = kThread;
    Touch() = default;
    Touch(const Moment& by, Who who) : when(now), thread(by.thread & 0x7ff), step(by.step & 0x3ffff), who(who) {}
  };

  static bool clashes(const Touch& touch, const Moment& by, std::uint32_t since) {
    if (touch.when < since) return false;
    if (touch.when < block_start || touch.who == kBlocks || touch.who == kCopy) return true;
    if (touch.when < now) return false;
    if (touch.thread / 32 != by.thread / 32 || touch.who == kWarps) return true;
    return touch.step == by.step && (touch.thread != by.thread || touch.who == kLanes);
  }
  [[noreturn]] static void fail(const Moment& by, const char* does, const char* other) {
    throw IllegalAccess("a race: thread " + std::to_string(by.thread) + ' ' + does + " what another " + other + ", in no order");
  }

  Touch write_, read_;
};

// The words of device memory, by pages, each made when it is first touched.
class WatchedPages {
 public:
  Watch& of(std::uintptr_t address) {
    const std::uintptr_t number = address / kBytes;
    if (last_ == nullptr || number != number_) {
      std::unique_ptr<Page>& page = pages_[number];
      if (page == nullptr) page = std::make_unique<Page>();
      last_ = page.get(), number_ = number;
    }
    return (*last_)[address % kBytes / 4];
  }
  void forget(std::uintptr_t address, std::size_t bytes) {
    last_ = nullptr;
    for (std::uintptr_t number = (address + kBytes - 1) / kBytes; (number + 1) * kBytes <= address + bytes; ++number) pages_.erase(number);
  }

 private:
  static constexpr std::uintptr_t kBytes = 4096;
  using Page = std::array<Watch, kBytes / 4>;
  std::map<std::uintptr_t, std::unique_ptr<Page>> pages_;
  std::uintptr_t number_ = 0;
  Page* last_ = nullptr;
};

}  // namespace hifigan::cuda
