// Addresses of the guest, as types of their own: a guest address can neither be dereferenced nor be mixed up by
// accident.
#pragma once

#include <compare>
#include <cstdint>

namespace oboro {

// Guest virtual address (x86-64, canonical).
struct Gva {
  uint64_t value = 0;

  constexpr Gva() = default;
  constexpr explicit Gva(uint64_t v) : value(v) {}
  constexpr explicit operator bool() const { return value != 0; }
  constexpr auto operator<=>(const Gva&) const = default;
  constexpr Gva operator+(uint64_t offset) const { return Gva(value + offset); }
  constexpr Gva operator-(uint64_t offset) const { return Gva(value - offset); }
};

// Guest physical address.
struct Gpa {
  uint64_t value = 0;

  constexpr Gpa() = default;
  constexpr explicit Gpa(uint64_t v) : value(v) {}
  constexpr auto operator<=>(const Gpa&) const = default;
  constexpr Gpa operator+(uint64_t offset) const { return Gpa(value + offset); }
};

}  // namespace oboro
