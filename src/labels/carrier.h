// What can bear labels. Pure names: no guest memory, no engine.
#pragma once

#include <cstdint>

namespace oboro::labels {

enum class CarrierKind : uint8_t {
  none = 0,
  process,   // by thread-group ID, from fork or first taint until the ID can be reused (release_task)
  inode,     // by address, as long as the inode is in memory (security_inode_free)
  file,      // by identity (guest::FileIdentity), as long as the file exists
  pipe,      // by address of pipe_inode_info, until free_pipe_info
  socket,    // by address of sock: data that was sent to it, and can be received from it
  flow,      // one direction of a TCP connection inside the guest: its ports, sender's first, in the low 32 bits, below
             // a digest of its addresses
  terminal,  // by address of tty_struct: data that was written to its other end
  queue,     // SysV (kern_ipc_perm) and POSIX (inode) message queue
};

// One word: the kind and 56 bits of an address, an ID or a digest. Kernel addresses differ in their low 56 bits.
class Carrier {
 public:
  constexpr Carrier() = default;
  constexpr Carrier(CarrierKind kind, uint64_t value)
      : key_(static_cast<uint64_t>(kind) << 56 | (value & ((uint64_t{1} << 56) - 1))) {}
  static constexpr Carrier from_key(uint64_t key) {
    Carrier c;
    c.key_ = key;
    return c;
  }

  constexpr uint64_t key() const { return key_; }
  constexpr uint64_t value() const { return key_ & ((uint64_t{1} << 56) - 1); }
  constexpr CarrierKind kind() const { return static_cast<CarrierKind>(key_ >> 56); }
  constexpr explicit operator bool() const { return key_ != 0; }
  constexpr bool has_value() const { return value() != 0; }  // not of a null object
  constexpr bool operator==(const Carrier&) const = default;

 private:
  uint64_t key_ = 0;
};

}  // namespace oboro::labels
