// The threads of a block as fibers of one thread of the host, and the memory that they may touch.
#pragma once

#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <setjmp.h>
#include <ucontext.h>

#include "races.h"

namespace hifigan::cuda {

using Word = std::uint32_t;

// Device memory, by its first byte.
inline std::map<std::uintptr_t, std::size_t>& allocations() {
  static std::map<std::uintptr_t, std::size_t> all;
  return all;
}
inline void check_access(const void* p, std::size_t bytes) {
  thread_local std::uintptr_t low = 1, high = 0;
  const auto address = reinterpret_cast<std::uintptr_t>(p);
  if (address % bytes != 0) throw IllegalAccess("an address that is no multiple of " + std::to_string(bytes));
  if (address >= low && address + bytes <= high) return;
  auto found = allocations().upper_bound(address);
  if (found == allocations().begin()) throw IllegalAccess("memory that nobody has");
  --found;
  if (address + bytes > found->first + found->second)
    throw IllegalAccess("memory " + std::to_string(address - found->first - found->second) + " bytes behind " +
                        std::to_string(found->second));
  low = found->first, high = found->first + found->second;
}
inline WatchedPages& watched_pages() {
  static WatchedPages all;
  return all;
}

// Sums that products on their way add to.
struct Sums {
  std::vector<float> values;
  int users = 0;
};

// A warp's products that were begun and not waited for.
class BegunProducts {
 public:
  Sums& hold(const void* sums) { return held_[sums]; }
  void start() { started_ = true, told_.push_back("start"); }
  void begin(std::function<void()> product, const std::string& what) {
    if (!started_) throw IllegalAccess("products that read registers without a fence");
    begun_.push_back(std::move(product)), told_.push_back(what);
  }
  void commit() {
    groups_.push_back(std::exchange(begun_, {}));
    started_ = false, told_.push_back("commit");
  }
  void await(std::size_t left) {
    told_.push_back("wait " + std::to_string(left));
    while (groups_.size() > left) {
      for (const auto& product : groups_.front()) product();
      groups_.erase(groups_.begin());
    }
  }
  bool none() const { return begun_.empty() && groups_.empty(); }
  void clear() { held_.clear(), begun_.clear(), groups_.clear(), told_.clear(), started_ = false; }
  // What the warp has asked for since it was asked last: the four of a group must ask for the same.
  std::vector<std::string> told() { return std::exchange(told_, {}); }

 private:
  std::map<const void*, Sums> held_;
  std::vector<std::function<void()>> begun_;
  std::vector<std::vector<std::function<void()>>> groups_;
  std::vector<std::string> told_;
  bool started_ = false;
};

// A block at work.
class Block {
 public:
  static inline thread_local Block* now = nullptr;
  int x = 0, y = 0, current = 0;
  std::vector<char> memory;

  explicit Block(int threads) : fibers_(static_cast<std::size_t>(threads)), warps_(static_cast<std::size_t>(threads) / 32) {
    for (Fiber& fiber : fibers_) {
      fiber.stack = std::make_unique_for_overwrite<char[]>(kStackBytes);
      getcontext(&fiber.context);
      fiber.context.uc_stack.ss_sp = fiber.stack.get();
      fiber.context.uc_stack.ss_size = kStackBytes;
      fiber.context.uc_link = nullptr;
      makecontext(&fiber.context, reinterpret_cast<void (*)()>(&Block::enter_fiber), 0);
    }
  }

  // This thread's block of so many, whose fibers are made once; one that ended in an error is not used again.
  static Block& of(int threads, std::size_t shared_bytes) {
    thread_local std::map<int, std::unique_ptr<Block>> blocks;
    std::unique_ptr<Block>& block = blocks[threads];
    if (block == nullptr || block->failed_) block = std::make_unique<Block>(threads);
    block->memory.assign(shared_bytes, '\xff');
    block->words_.assign(shared_bytes / 4, {});
    block->written_.assign(shared_bytes / 4, {});
    return *block;
  }

  // How a block runs. `backwards`: the later lanes and warps first, since a card has any order. `ordering`: whether barriers order
  // anything, `showing`: whether products are shown anything, and `fencing`: whether fences stand before them, which tests of the
  // watch deny.
  struct Way {
    bool backwards, ordering, showing, fencing;
  };
  // Runs `body` once for each thread.
  void run(const std::function<void()>& body, const Way& way) {
    now = this;
    way_ = way;
    Watch::start_block();
    for (Warp& warp : warps_) warp.step = 0, warp.products.clear();
    body_ = &body;
    failed_ = true;
    for (Fiber& fiber : fibers_) {
      fiber.done = false, fiber.waits = Waits::kNothing;
      fiber.copies.clear(), fiber.groups.clear();
    }
    for (bool left = true; left;) {
      left = false;
      bool moved = false;
      for (std::size_t w = 0; w < warps_.size(); ++w) moved |= run_warp(way.backwards ? warps_.size() - 1 - w : w, way.backwards);
      std::size_t waiting = 0;
      for (const Fiber& fiber : fibers_) left |= !fiber.done, waiting += fiber.waits == Waits::kBlock;
      if (error_) break;
      if (left && waiting == fibers_.size()) {
        for (Fiber& fiber : fibers_) fiber.waits = Waits::kNothing;
        check_groups();
        if (way_.ordering) Watch::pass_barrier();
        for (Warp& warp : warps_) warp.step = 0;
      } else if (left && !moved) {
        throw IllegalAccess("threads that wait for others which never come");
      }
    }
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
    check_groups();
    for (const Warp& warp : warps_) {
      if (!warp.products.none()) throw IllegalAccess("products that nobody waits for");
    }
    failed_ = false;
  }

  void barrier() { wait(Waits::kBlock); }
  void warp_barrier() {
    together(nullptr, [this](void**) { warp().step += way_.ordering; });
  }

  // Waits for the other lanes; the last one to come does the work of all, with what each has brought.
  template <class Work>
  void together(void* brought, const Work& work) {
    warp().brought[current % 32] = brought;
    if (++warp().arrived < 32) {
      wait(Waits::kWarp);
      return;
    }
    warp().arrived = 0;
    work(warp().brought);
    for (std::size_t lane = 0; lane < 32; ++lane) {
      Fiber& fiber = fibers_[static_cast<std::size_t>(current) / 32 * 32 + lane];
      if (fiber.waits == Waits::kWarp) fiber.waits = Waits::kNothing;
    }
  }

  // Something that all lanes do together.
  void warp_step(const std::function<void(BegunProducts&)>& work) {
    together(nullptr, [&](void**) { work(warp().products); });
  }

  BegunProducts& products() { return warp().products; }
  void start_products() {
    warp_step([this](BegunProducts& products) {
      if (way_.fencing) products.start();
    });
  }

  void copy(Word to, const void* from, bool inside) {
    if (inside) touch_global(from, 16, false);
    check_shared(to, 16);
    for (Word word = to / 4; word < to / 4 + 4; ++word) words_[word].start_copy(moment());
    fiber().copies.push_back({to, from, inside, false});
  }
  void commit() {
    for (Copy& copy : fiber().copies) copy.committed = true;
    fiber().groups.push_back(fiber().copies.size());
  }
  void await(std::size_t left) {
    Fiber& mine = fiber();
    while (mine.groups.size() > left) {
      const std::size_t count = mine.groups.front();
      for (std::size_t i = 0; i < count; ++i) land(mine.copies[i]);
      mine.copies.erase(mine.copies.begin(), mine.copies.begin() + static_cast<std::ptrdiff_t>(count));
      mine.groups.erase(mine.groups.begin());
      for (std::size_t& later : mine.groups) later -= count;
    }
  }
  // A place in shared memory that this thread reads or writes, or `lane` of its warp.
  char* shared(Word address, std::size_t bytes, bool written, int lane = -1) {
    check_shared(address, bytes);
    const Moment by = lane < 0 ? moment() : Moment{static_cast<Word>(current / 32 * 32 + lane), warp().step};
    for (std::size_t word = address / 4; word < (address + bytes + 3) / 4; ++word) {
      if (written) {
        words_[word].write(by, Watch::block_start);
        written_[word] = {static_cast<Word>(current + 1), fiber().shows};
      } else {
        words_[word].read(by, Watch::block_start);
      }
    }
    return memory.data() + address;
  }
  // What a thread has written to shared memory is there for products when it has shown it since.
  void show() { fiber().shows += way_.showing; }
  const char* shown(Word address) {
    const char* const place = shared(address, 4, false);
    const Written& last = written_[address / 4];
    if (last.by != 0 && fibers_[last.by - 1].shows <= last.shows) throw IllegalAccess("a product of what was not shown to it");
    return place;
  }
  void touch_global(const void* p, std::size_t bytes, bool written) {
    check_access(p, bytes);
    const auto address = reinterpret_cast<std::uintptr_t>(p);
    for (std::uintptr_t word = address; word < address + bytes; word += 4) {
      Watch& watch = watched_pages().of(word);
      if (written) {
        watch.write(moment(), Watch::launch_start);
      } else {
        watch.read(moment(), Watch::launch_start);
      }
    }
  }

 private:
  enum class Waits { kNothing, kWarp, kBlock };
  struct Copy {
    Word to;
    const void* from;
    bool inside, committed;
  };
  struct Fiber {
    ucontext_t context;
    jmp_buf place;
    std::unique_ptr<char[]> stack;
    bool started = false, done = false;
    Waits waits = Waits::kNothing;
    std::vector<Copy> copies;
    std::vector<std::size_t> groups;
    Word shows = 0;
  };
  // Who wrote a word last, counted from 1, and how often that thread had shown what it wrote.
  struct Written {
    Word by = 0, shows = 0;
  };
  struct Warp {
    int arrived = 0;
    Word step = 0;  // barriers since the block's last
    void* brought[32];
    BegunProducts products;
  };

  void check_groups() {
    std::vector<std::string> of_group;
    for (std::size_t w = 0; w < warps_.size(); ++w) {
      std::vector<std::string> told = warps_[w].products.told();
      if (w % 4 == 0) of_group = told;
      if (told != of_group) throw IllegalAccess("warps of a group that ask for different products");
    }
  }
  Fiber& fiber() { return fibers_[static_cast<std::size_t>(current)]; }
  Warp& warp() { return warps_[static_cast<std::size_t>(current) / 32]; }
  Moment moment() { return {static_cast<Word>(current), warp().step}; }
  void check_shared(Word address, std::size_t bytes) const {
    if (address + bytes > memory.size()) throw IllegalAccess("shared memory beyond what the launch asked for");
  }
  void land(const Copy& copy) {
    if (copy.inside) {
      std::memcpy(memory.data() + copy.to, copy.from, 16);
    } else {
      std::memset(memory.data() + copy.to, 0, 16);
    }
    for (Word word = copy.to / 4; word < copy.to / 4 + 4; ++word) {
      words_[word].end_copy(moment());
      written_[word] = {static_cast<Word>(current + 1), fiber().shows};
    }
  }
  // Contexts are switched by jumps, which ask the system for nothing; only a fiber's first start needs more.
  void wait(Waits what) {
    Fiber& mine = fiber();
    mine.waits = what;
    if (_setjmp(mine.place) == 0) _longjmp(scheduler_, 1);
  }
  void resume(Fiber& next) {
    if (_setjmp(scheduler_) != 0) return;
    if (next.started) _longjmp(next.place, 1);
    next.started = true;
    setcontext(&next.context);
  }
  bool run_warp(std::size_t warp, bool backwards) {
    bool moved = false;
    for (bool again = true; again && !error_;) {
      again = false;
      for (std::size_t l = 0; l < 32; ++l) {
        current = static_cast<int>(warp * 32 + (backwards ? 31 - l : l));
        if (fiber().done || fiber().waits != Waits::kNothing) continue;
        resume(fiber());
        again = moved = true;
      }
    }
    return moved;
  }
  static void enter_fiber() {
    Block& block = *now;
    for (;;) {
      try {
        (*block.body_)();
      } catch (...) {
        block.error_ = std::current_exception();
      }
      Fiber& mine = block.fiber();
      mine.done = true;
      if (_setjmp(mine.place) == 0) _longjmp(block.scheduler_, 1);
    }
  }

  static constexpr std::size_t kStackBytes = 512 << 10;  // for kernels that are not optimized

  std::vector<Fiber> fibers_;
  std::vector<Warp> warps_;
  std::vector<Watch> words_;  // of shared memory
  std::vector<Written> written_;
  Way way_{};
  jmp_buf scheduler_;
  const std::function<void()>* body_ = nullptr;
  std::exception_ptr error_;
  bool failed_ = false;
};

}  // namespace hifigan::cuda
