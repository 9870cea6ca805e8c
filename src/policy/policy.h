// What is decided about a flow of labels before anything moves. Pure logic: no engine, no guest memory, no input or
// output; the same flow in the same situation is always decided in the same way.
//
// Threads: any, without a lock.
#pragma once

#include <cstdint>

#include "labels/carrier.h"

namespace oboro::policy {

// The way that labels are about to take.
enum class Channel : uint8_t {
  memory,      // of a process: shared, mapped, of another one that is looked into, or a child's
  file,        // of the guest, or a hidden service's
  pipe,        //
  terminal,    //
  queue,       // System V and POSIX message queues
  socket,      // UNIX or UDP, to a socket of this guest
  connection,  // TCP, to a socket of this guest
  remote,      // out of the machine
  untraced,    // to somewhere in this guest where labels cannot follow
  count
};

// What an operation of the guest is about to do with labels.
struct Flow {
  uint64_t call = 0;         // number of the system call, as the guest counts them
  uint32_t subject = 0;      // thread-group ID of the process that does it
  labels::Carrier from, to;  // to: nothing where it is not in the guest, or not known
  uint64_t labels = 0;       // those that `to` would gain; 0: none that is known of
  Channel channel = Channel::memory;
};

// What holds for the guest as a whole.
struct Situation {
  bool complete = true;  // false: labels may be missing, so anybody may hold what must not leave
};

enum class Verdict : uint8_t { allow, alert, deny };

// Why it was decided so, where it is not plainly allowed.
enum class Reason : uint8_t {
  none,
  leak,        // labels leave the machine
  untraced,    // labels go to where they cannot be followed
  incomplete,  // nobody knows which labels leave the machine
};

struct Decision {
  Verdict verdict = Verdict::allow;
  Reason reason = Reason::none;
  int32_t error = 0;  // of a denied operation: what the program gets, a positive errno of the guest's
  bool denies() const { return verdict == Verdict::deny; }
};

// What the user wants.
struct Policy {
  Verdict leak = Verdict::alert;  // alert or deny

  // Whether the result must be complete for anything to leave.
  bool wants_complete() const { return leak == Verdict::deny; }
  // Whether an operation with such a flow may ever be denied: then the engine must be able to make it fail.
  bool may_deny(Channel channel) const;
};

Decision decide(const Policy& policy, const Situation& situation, const Flow& flow);

}  // namespace oboro::policy
