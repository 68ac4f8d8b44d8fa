#include "core/placement.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>
#endif

namespace hifigan {

#if defined(__x86_64__) && defined(__linux__)

namespace {

bool on_virtual_machine() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) && (c & 1u << 31) != 0;  // reserved by Intel and AMD for hypervisors to say so
}

// systemd's filters end a process for a call that they forbid, and many a service's forbids to choose processors (@resources).
bool may_be_ended_for_asking() {
  if (std::getenv("INVOCATION_ID") == nullptr) return false;
  std::ifstream status("/proc/thread-self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("Seccomp:", 0) == 0) return line.find('2') != std::string::npos;
  }
  return true;
}

bool processors_of(pid_t thread, cpu_set_t& set) { return sched_getaffinity(thread, sizeof set, &set) == 0; }

}  // namespace

int waker_processor() {
  static const bool needed = on_virtual_machine() && !may_be_ended_for_asking();
  return needed ? sched_getcpu() : -1;
}

KeptOff::KeptOff(int processor) {
  if (processor < 0 || processor >= CPU_SETSIZE || !processors_of(0, before_)) return;
  if (!CPU_ISSET(processor, &before_) || CPU_COUNT(&before_) < 2) return;
  cpu_set_t first{};
  as_process_ = processors_of(getpid(), first) && CPU_EQUAL(&first, &before_);
  narrow_ = before_;
  CPU_CLR(processor, &narrow_);
  narrowed_ = sched_setaffinity(0, sizeof narrow_, &narrow_) == 0;
}

// Others may have chosen other processors meanwhile, for this thread or the whole process: that stays.
KeptOff::~KeptOff() {
  cpu_set_t now{}, first{};
  if (!narrowed_ || !processors_of(0, now)) return;
  const bool as_left = CPU_EQUAL(&now, &narrow_);
  if (as_process_ && processors_of(getpid(), first) && (as_left || !CPU_EQUAL(&first, &before_))) {
    sched_setaffinity(0, sizeof first, &first);
  } else if (as_left) {
    sched_setaffinity(0, sizeof before_, &before_);
  }
}

#else

int waker_processor() { return -1; }
KeptOff::KeptOff(int) {}
KeptOff::~KeptOff() = default;

#endif

}  // namespace hifigan
