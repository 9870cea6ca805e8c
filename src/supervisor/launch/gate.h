// Holds QEMU at the call by which it makes its virtual machine with KVM, until it is known that the tracer has seen
// that call, too. So no guest runs past its tracer, however QEMU was linked and however slow this host is.
#pragma once

#include <utility>

#include "base/fd.h"

namespace oboro::supervisor {

// The side that answers. The kernel asks it for every KVM_CREATE_VM of the process that called enter(), and of all that
// this one starts (seccomp user notification). When it is gone, such a call fails with ENOSYS.
class Gate {
 public:
  // For a process that is about to become QEMU; also between fork() and exec(). Sends the other side by `to`, one end
  // of a SOCK_SEQPACKET pair. Returns 0 or errno: EBUSY where this process's calls are watched already (by a
  // container's manager, say), EACCES without no_new_privs and CAP_SYS_ADMIN. Then it does not stand.
  static int enter(int to);
  // Waits until that process has sent it, or has closed its end, or the program that it becomes has: then it does not
  // stand.
  static Gate receive(int from);

  Gate() = default;
  explicit Gate(UniqueFd listener) : listener_(std::move(listener)) {}
  bool stands() const { return static_cast<bool>(listener_); }
  int poll_fd() const { return listener_.get(); }  // readable while somebody waits, and when nobody will any more

  enum class Who { nobody, somebody, gone };  // gone: all who could ever come have ended
  Who waits() const;
  // Lets the call that waits through, or has it fail with EPERM. Nothing happens if its thread has ended meanwhile.
  void answer(bool may) const;

 private:
  UniqueFd listener_;
};

}  // namespace oboro::supervisor
