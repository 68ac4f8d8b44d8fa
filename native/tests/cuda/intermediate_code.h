// What the translation of the kernels' intermediate code (tests/intermediate_code.py) is written in: PTX's meaning of memory, numbers
// and warps, by the means of the imitated card.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <type_traits>
#include <vector>

#include "emulated_hopper.h"

namespace hifigan::cuda {

// Thousands of lines that a compiler would take minutes for; what they call is optimized.
#ifdef __clang__
#define UNOPTIMIZED __attribute__((optnone))
#else
#define UNOPTIMIZED __attribute__((optimize(0)))
#endif

// The one parameter of a kernel, whose addresses count from 0.
struct Parameter {
  const char* bytes;
  std::size_t size;
};

struct Translated {
  Translated(const char* name, int threads, std::size_t bytes, void (*kernel)(const Parameter&)) {
    kernels()[name] = {threads, bytes, [=](const void* p) { kernel({static_cast<const char*>(p), bytes}); }};
  }
};

// A register's bits as another type of its size.
template <class To, class From>
To bits(From v) {
  static_assert(sizeof(To) == sizeof(From));
  return std::bit_cast<To>(v);
}

template <class Type>
auto wrapped(Type v) {
  return static_cast<std::make_unsigned_t<Type>>(v);
}
// Shifts by more than a register's width are by its width.
template <class Type>
Type shifted_left(Type v, std::uint32_t by) {
  return by >= 8 * sizeof(Type) ? Type(0) : static_cast<Type>(wrapped(v) << by);
}
template <class Type>
Type shifted_right(Type v, std::uint32_t by) {
  return static_cast<Type>(by >= 8 * sizeof(Type) ? (v < 0 ? -1 : 0) : v >> by);
}
template <class Type>
Type quotient(Type a, Type b) {
  if (b == 0) throw IllegalAccess("a division by zero");
  return a / b;
}
template <class Type>
Type rest(Type a, Type b) {
  if (b == 0) throw IllegalAccess("a division by zero");
  return a % b;
}
inline std::uint32_t inserted(std::uint32_t what, std::uint32_t into, std::uint32_t at, std::uint32_t length) {
  const std::uint32_t mask = shifted_left(shifted_left(1u, length) - 1u, at);
  return (into & ~mask) | (shifted_left(what, at) & mask);
}

template <class Numbers>
Numbers param_load(const Parameter& parameter, std::uint64_t address) {
  if (address % sizeof(Numbers) != 0 || address + sizeof(Numbers) > parameter.size) throw IllegalAccess("beyond the parameter");
  Numbers v;
  std::memcpy(&v, parameter.bytes + address, sizeof(v));
  return v;
}

// A thread's own memory, whose addresses count from 0.
struct Local {
  explicit Local(std::size_t size) : bytes(size), written(size) {}
  void check(std::uint64_t address, std::size_t size) const {
    if (address % size != 0 || address + size > bytes.size()) throw IllegalAccess("beyond a thread's own memory");
  }
  std::vector<char> bytes;
  std::vector<bool> written;
};
template <class Numbers>
Numbers local_load(const Local& local, std::uint64_t address) {
  local.check(address, sizeof(Numbers));
  const auto first = local.written.begin() + static_cast<std::ptrdiff_t>(address);
  if (std::find(first, first + sizeof(Numbers), false) != first + sizeof(Numbers)) throw IllegalAccess("a thread's own memory, unwritten");
  Numbers v;
  std::memcpy(&v, local.bytes.data() + address, sizeof(v));
  return v;
}
template <class Numbers>
void local_store(Local& local, std::uint64_t address, const Numbers& v) {
  local.check(address, sizeof(v));
  std::memcpy(local.bytes.data() + address, &v, sizeof(v));
  std::fill_n(local.written.begin() + static_cast<std::ptrdiff_t>(address), sizeof(v), true);
}

template <class Numbers>
Numbers global_load(std::uint64_t address) {
  return read<Numbers>(reinterpret_cast<const void*>(address));
}
template <class Numbers>
void global_store(std::uint64_t address, const Numbers& v) {
  write(reinterpret_cast<void*>(address), v);
}
inline char* shared_place(std::uint64_t address, std::size_t bytes, bool written) {
  if (address % bytes != 0) throw IllegalAccess("shared memory at no multiple of " + std::to_string(bytes));
  return Block::now->shared(static_cast<Word>(address), bytes, written);
}
template <class Numbers>
Numbers shared_load(std::uint64_t address) {
  Numbers v;
  std::memcpy(&v, shared_place(address, sizeof(v), false), sizeof(v));
  return v;
}
template <class Numbers>
void shared_store(std::uint64_t address, const Numbers& v) {
  std::memcpy(shared_place(address, sizeof(v), true), &v, sizeof(v));
}
template <class Type>
Type raised(std::uint64_t address, Type to) {
  return raised(reinterpret_cast<void*>(address), to);
}
inline void copied(Word to, std::uint64_t from, std::uint32_t bytes) {
  if (to % 16 != 0 || from % 16 != 0) throw IllegalAccess("a copy at no multiple of 16 bytes");
  if (bytes != 0 && bytes != 16) throw IllegalAccess("a copy of a part of 16 bytes");
  copy16(to, reinterpret_cast<const void*>(from), bytes != 0);
}

// Bytes of two registers, by the digits of `which`.
inline std::uint32_t chosen_bytes(std::uint32_t low, std::uint32_t high, std::uint32_t which) {
  if ((which & 0x8888) != 0) throw IllegalAccess("a choice of bytes by their signs");
  const std::uint64_t both = std::uint64_t{high} << 32 | low;
  std::uint32_t v = 0;
  for (int i = 0; i < 4; ++i) v |= static_cast<std::uint32_t>(both >> 8 * (which >> 4 * i & 7) & 0xff) << 8 * i;
  return v;
}
inline std::uint32_t turned_halves(std::uint32_t v) {
  const auto [low, high] = turned(static_cast<std::uint16_t>(v), static_cast<std::uint16_t>(v >> 16));
  return low | static_cast<std::uint32_t>(high) << 16;
}

// One lane's part of D[16, 8] = A[16, 16] * B[16, 8] + C.
struct Product {
  Word a[4], b[2];
  float d[4];
};
template <std::size_t COUNT>
void multiply(Product (&mine)[COUNT]) {
  Block::now->together(mine, [](void** all) {
    for (std::size_t i = 0; i < COUNT; ++i) {
      const auto of = [&](int lane) -> Product& { return static_cast<Product*>(all[lane])[i]; };
      multiply_block([&](int lane) { return of(lane).a; }, [&](int lane) { return of(lane).b; }, [&](int lane) { return of(lane).d; });
    }
  });
}

}  // namespace hifigan::cuda
