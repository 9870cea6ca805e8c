// Writing to the guest's kernel memory: to the stacks, structures and pages of threads that are steered (src/steer).
// The KVM engine writes to it, too, past this: the hooks' sites and the page-table entry of its slot (engine/kvm), the
// marks that keep ftrace off them (tracer/entry/kvm), and, from inside the guest, the notes that its stubs leave.
//
// Threads: any vCPU thread, for what belongs to the thread that runs on it.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#include "guest/kernel.h"

namespace oboro::guest {

class Writer {
 public:
  // The engine's mapping of the guest's RAM must be writable.
  explicit Writer(const Kernel& kernel) : kernel_(kernel) {}

  // False if not all of it is mapped to RAM that may be written; what was before that is written then.
  bool write(Gva at, std::span<const std::byte> bytes) const {
    while (!bytes.empty()) {
      const std::span<std::byte> there = bytes_at(at);
      if (there.empty()) return false;
      const size_t part = std::min(there.size(), bytes.size());
      std::memcpy(there.data(), bytes.data(), part);
      bytes = bytes.subspan(part);
      at = at + part;
    }
    return true;
  }
  template <typename T>
  bool put(Gva at, const T& value) const {
    static_assert(std::has_unique_object_representations_v<T>);  // no pointer of ours, no padding
    return write(at, std::as_bytes(std::span(&value, 1)));
  }
  // A word that other vCPUs change meanwhile, bit by bit. False if it is not there.
  bool set_bits(Gva at, uint64_t bits) const {
    const auto word = word_at(at);
    if (word) std::atomic_ref(*word).fetch_or(bits);
    return word;
  }
  bool clear_bits(Gva at, uint64_t bits) const {
    const auto word = word_at(at);
    if (word) std::atomic_ref(*word).fetch_and(~bits);
    return word;
  }

 private:
  // Guest RAM is this process's own memory; only reading it is const. A hostile kernel may point at its ROM, whose
  // mapping may be read-only here too.
  std::span<std::byte> bytes_at(Gva at) const {
    const auto bytes = kernel_.is_kernel_pointer(at) ? kernel_.bytes_at(at) : std::span<const std::byte>();
    if (!kernel_.memory().may_be_written(bytes)) return {};
    return {const_cast<std::byte*>(bytes.data()), bytes.size()};
  }
  uint64_t* word_at(Gva at) const {
    const auto bytes = bytes_at(at);
    return bytes.size() >= sizeof(uint64_t) && at.value % sizeof(uint64_t) == 0
               ? reinterpret_cast<uint64_t*>(bytes.data())
               : nullptr;
  }

  const Kernel& kernel_;
};

}  // namespace oboro::guest
