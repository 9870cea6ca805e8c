// In which case a call of a hooked function can matter, for engines that can tell inside the guest.
#pragma once

#include <cstdint>

namespace oboro::hooks {

// A note (engine/filter.h) is the address of a struct file. With these bits it is the address of a struct socket, or
// eight times a descriptor of the task's.
inline constexpr uint64_t kNoteIsSocket = 1, kNoteIsDescriptor = 2;

enum class Interest : uint8_t {
  every_call,
  managed,                  // the running process is managed
  sending,                  // managed, and the struct socket is no UNIX datagram socket: those have a hook of their own
  sending_or_refused,       // the same, but whoever sends, once sends are refused (labels::Carriers::refuse_sends)
  opened_name,              // managed, or the file's name is not known to need no look
  known_dentry,             // a name is known under the dentry's address
  access,                   // read or write (struct file, mask): managed, or a read of what bears labels
  readable,                 // managed, or the struct file is one from which labels would come
  readable_or_refused,      // readable, or sends are refused
  mapped,                   // managed, or the struct file, if any, bears labels
  descriptor,               // every call; the descriptor is the argument
  descriptor_in_registers,  // every call; the descriptor is in the caller's registers, to which the argument points
  receiving,                // managed, or labels may come out of the struct socket
  socket,                   // the struct socket, or a connection with its ports, bears labels
  connection,               // a connection with the struct sock's ports bears labels
  object,                   // the object bears labels
  task,                     // the process of the task_struct is managed
  managed_or_task,          // the running one, or that of the task_struct
  managed_or_owner,         // the running one, or the owner of the mm_struct
  executed,                 // managed, or the linux_binprm's program has the name of one that is waited for
};

}  // namespace oboro::hooks
