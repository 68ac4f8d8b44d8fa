#include "core/aligned_buffer.h"

#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>

#if defined(_WIN32)
#include <malloc.h>
#elif defined(__linux__)
#include <sys/mman.h>
#endif

namespace hifigan {

namespace {

constexpr std::size_t kLine = 64;
constexpr std::size_t kLargePage = std::size_t{1} << 21;

// Null if there is no memory.
void* allocate(std::size_t alignment, std::size_t bytes) {
#if defined(_WIN32)
  return _aligned_malloc(bytes, alignment);
#else
  void* memory = nullptr;
  return posix_memalign(&memory, alignment, bytes) == 0 ? memory : nullptr;
#endif
}

}  // namespace

AlignedBuffer::AlignedBuffer(std::size_t floats, bool zero) {
  if (floats == 0) return;
  if (floats > std::numeric_limits<std::size_t>::max() / sizeof(float) - kLargePage) throw std::bad_alloc();
  const std::size_t bytes = floats * sizeof(float);
  const std::size_t alignment = bytes >= kLargePage ? kLargePage : kLine;
  bytes_ = (bytes + kLine - 1) / kLine * kLine;
  void* const memory = allocate(alignment, bytes_);
  if (memory == nullptr) throw std::bad_alloc();
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  // Only advice: weights are read front to back many times a second, and small pages would cost address look-ups. The last,
  // partly used page stays small, so that no more memory is taken than asked for.
  if (bytes_ >= kLargePage) madvise(memory, bytes_ / kLargePage * kLargePage, MADV_HUGEPAGE);
#endif
  data_ = static_cast<float*>(memory);
  if (zero) std::memset(data_, 0, bytes_);
}

AlignedBuffer::~AlignedBuffer() {
#if defined(_WIN32)
  _aligned_free(data_);
#else
  std::free(data_);
#endif
}

}  // namespace hifigan
