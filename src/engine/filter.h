// Deciding inside the guest: an engine that can place code in front of a hooked function asks there whether the call is
// of interest, and stops the vCPU only then. A FilterProgram says what to ask. The engine learns through Filter whom to
// stop for. A wrong yes costs a stop. A wrong no would be a miss, so there must be none.
#pragma once

#include <cstdint>
#include <vector>

namespace oboro::engine {

// One register, A, and one place to keep a value, B. Values are 64 bits wide.
struct FilterStep {
  enum class Op : uint8_t {
    current,   // A = the running task: the per-CPU variable at `value`
    argument,  // A = the function's argument number `value`, 0 to 5
    load64,    // A = the 8 bytes at A + `value`; load32 and load16 extend with zeros
    load32,
    load16,
    bits,             // A = A & `value`
    shift_left,       // A = A << `value`
    keep,             // B = A
    recall,           // A = B
    jump_if_zero,     // A == 0: go on at step `target`, which is further down
    jump_if_equal,    // A == `value` (sign-extended from 32 bits)
    jump_if_process,  // A is the ID of a process of interest; with kOrSender as `value`, or add_senders() was called
    jump_unless_process,
    jump_if_object,          // A is the key of an object of interest (perhaps: false positives). A is lost
    load16_beside,           // A = A | 2 bytes at B + `value` << 16
    connection_key,          // A = connection_key(low 16 bits of A, next 16 bits of A). B is lost
    note,                    // the running task's note = A + `value`. A and B are lost
    jump_unless_known_name,  // argument 0 is a struct file: go on at `target` unless its name is known. A and B are
                             // lost
    jump_if_known_dentry,    // argument 0 is a struct dentry of a known name. A is lost
    stop,                    // of interest
    pass,
  };
  static constexpr uint64_t kOrSender = 1;

  Op op;
  uint64_t value = 0;
  uint16_t target = 0;

  bool jumps() const {
    switch (op) {
      case Op::jump_if_zero:
      case Op::jump_if_equal:
      case Op::jump_if_process:
      case Op::jump_unless_process:
      case Op::jump_if_object:
      case Op::jump_unless_known_name:
      case Op::jump_if_known_dentry:
        return true;
      default:
        return false;
    }
  }
};

// Offsets and addresses that steps of some kinds need.
struct FilterLayout {
  uint64_t current = 0;                                      // per-CPU offset of the running task
  uint32_t task_stack = 0;                                   // task_struct.stack
  uint32_t file_dentry = 0, file_mount = 0, file_inode = 0;  // struct file
  uint64_t rename_sequence = 0, mount_sequence = 0;          // addresses of 32-bit sequence counters
};

using FilterProgram = std::vector<FilterStep>;

// The note lies at the far end of the task's kernel stack, behind the canary (STACK_END_MAGIC). Only a stack that is
// about to overflow would use this memory.
inline constexpr uint64_t kNoteOffset = 16;

// The key of a TCP connection's two ports, given as they are in memory (network byte order). It is the same for both
// ends and both directions. No kernel address is so small.
inline constexpr uint64_t connection_key(uint16_t one_port, uint16_t other_port) {
  return uint64_t{uint32_t{one_port} + other_port} << 16 | (one_port ^ other_port);
}

// A name of a file. It needs no further look as long as nothing is renamed or mounted.
struct KnownName {
  uint64_t dentry, inode, mount;             // kernel addresses
  uint32_t rename_sequence, mount_sequence;  // when it was looked at; even
};

// Threads: one at a time. An addition holds on every vCPU before the call returns.
class Filter {
 public:
  virtual ~Filter() = default;
  virtual void add_process(uint32_t tgid) = 0;
  virtual void remove_process(uint32_t tgid) = 0;
  // An object may be added several times; it is of interest until it has been removed as often.
  virtual void add_object(uint64_t key) = 0;
  virtual void remove_object(uint64_t key) = 0;
  virtual void add_name(const KnownName& name) = 0;
  virtual void remove_name(uint64_t dentry) = 0;
  // From now on every process is of interest to the steps with kOrSender, and only to these steps. Until
  // remove_senders() or clear().
  virtual void add_senders() = 0;
  virtual void remove_senders() = 0;
  virtual void clear() = 0;
};

}  // namespace oboro::engine
