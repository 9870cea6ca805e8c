// Writing to the guest's kernel memory by virtual address: to the stacks, structures and pages of steered threads
// (src/steer), and the marks that keep ftrace off the hooks' sites. engine::PhysicalWriter does the writing, and says
// what else is written.
//
// Threads: any vCPU thread, for memory that belongs to the guest's thread that runs on it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <type_traits>

#include "engine/physical_writer.h"
#include "guest/kernel.h"

namespace oboro::guest {

class Writer {
 public:
  explicit Writer(const Kernel& kernel) : kernel_(kernel), writer_(kernel.memory()) {}

  // False if some of it is not mapped to RAM that may be written. The bytes before that are written then.
  bool write(Gva at, std::span<const std::byte> bytes) const;
  template <typename T>
  bool put(Gva at, const T& value) const {
    static_assert(std::has_unique_object_representations_v<T>);  // no pointer of ours, no padding
    return write(at, std::as_bytes(std::span(&value, 1)));
  }
  // Sets bits of a word that other vCPUs change meanwhile, bit by bit. False if the word is not there.
  bool set_bits(Gva at, uint64_t bits) const;
  bool clear_bits(Gva at, uint64_t bits) const;

 private:
  // A hostile kernel may point anywhere, so only its own half of the address space is written.
  std::optional<Kernel::Place> place_of(Gva at) const;

  const Kernel& kernel_;
  engine::PhysicalWriter writer_;
};

}  // namespace oboro::guest
