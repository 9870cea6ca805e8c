// The decision about a flow of labels, made before anything moves. Pure logic: no engine, no guest memory, no input or
// output. The same flow in the same situation is always decided in the same way.
//
// Threads: any, without a lock.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "labels/carrier.h"

namespace oboro::policy {

// The kind of way that the labels are about to take.
enum class Channel : uint8_t {
  memory,      // of a process: shared, mapped, read or written by another process, or inherited by a child
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
  labels::Carrier from, to;  // to: none where the target is not in the guest, or not known
  uint64_t labels = 0;       // the labels that `to` would gain; 0: none is known
  Channel channel = Channel::memory;
};

// What holds for the guest as a whole.
struct Situation {
  bool vouched_for = true;  // false: any process may hold data that must not leave, or send unseen, so nobody may send
};

// Why tracing cannot be vouched for.
enum class Trouble : uint8_t {
  incomplete,       // something could not be traced, or a record was lost: labels may be missing
  full_table,       // labels could not be recorded, for want of room
  journal,          // nothing that happens can be written down
  supervisor_loss,  // nobody reads what the tracer reports
  count
};

// What is done about a trouble. Up to `pause`, a later one is stricter. The others are for supervisor_loss alone.
enum class Reaction : uint8_t {
  report,  // the trouble is reported, and nothing else is done
  deny,    // everything that could leak is refused until the trouble is over, or an operator says go on
  pause,   // that, and the machine stands still until then
  kill,    // the VMM ends
  detach,  // the hooks are taken out, and the guest runs on untraced
};

enum class Verdict : uint8_t { allow, alert, deny };

// Why a flow is not plainly allowed.
enum class Reason : uint8_t {
  none,
  leak,       // labels leave the machine
  untraced,   // labels go to where they cannot be followed
  unvouched,  // it is not known which labels leave the machine, or nobody would hear of it
};

struct Decision {
  Verdict verdict = Verdict::allow;
  Reason reason = Reason::none;
  int32_t error = 0;  // the program's error if the operation is denied: a positive errno of the guest's
  bool denies() const { return verdict == Verdict::deny; }
};

// What the user wants.
struct Policy {
  Verdict leak = Verdict::alert;  // alert or deny
  // The reaction to each trouble. Nothing: `deny` where leaks are denied, else `report`.
  std::array<std::optional<Reaction>, static_cast<size_t>(Trouble::count)> safety{};

  constexpr std::optional<Reaction>& on(Trouble trouble) { return safety[static_cast<size_t>(trouble)]; }
  Reaction reaction(Trouble trouble) const;
  // Whether sends may ever be refused to everybody.
  bool may_refuse_all() const;
  // Whether an operation with a flow of this channel may ever be denied: then the engine must be able to make it fail.
  bool may_deny(Channel channel) const;
};

Decision decide(const Policy& policy, const Situation& situation, const Flow& flow);

}  // namespace oboro::policy
