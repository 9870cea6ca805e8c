#include "supervisor/launch/gate.h"

#include <array>
#include <cstddef>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "link/control.h"

namespace oboro::supervisor {
namespace {

#if defined(__x86_64__)
constexpr uint32_t kOurCalls = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kOurCalls = AUDIT_ARCH_AARCH64;
#endif

}  // namespace

int Gate::enter(int to) {
  // The lower half of the request is all that the kernel looks at.
  constexpr uint32_t request = offsetof(seccomp_data, args) + sizeof(uint64_t);
  static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
  std::array<sock_filter, 8> code = {{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kOurCalls, 0, 5),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, request),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, KVM_CREATE_VM, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
  // Old kernels slow down every process with a filter (Speculative Store Bypass). QEMU runs no code of the guest's in
  // its own process on KVM, so it has no need of that.
  const long listener =
      syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
              static_cast<unsigned long>(SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_SPEC_ALLOW), &program);
  if (listener < 0) return errno;
  const UniqueFd other(static_cast<int>(listener));
  const int fds[] = {other.get()};
  // A filter stays. If nobody gets its other side, QEMU can make no machine.
  return link::send(to, link::Done{}, 0, fds) ? 0 : EIO;
}

Gate Gate::receive(int from) {
  Result<link::Message> message = link::receive(from, -1);
  return message && message->fds.size() == 1 ? Gate(std::move(message->fds[0])) : Gate();
}

Gate::Who Gate::waits() const {
  pollfd state{listener_.get(), POLLIN, 0};
  while (poll(&state, 1, 0) < 0)
    if (errno != EINTR) return Who::gone;
  if (state.revents & POLLIN) return Who::somebody;
  return state.revents == 0 ? Who::nobody : Who::gone;
}

void Gate::answer(bool may) const {
  seccomp_notif call{};
  if (ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_RECV, &call) != 0) return;
  seccomp_notif_resp response{};
  response.id = call.id;
  if (may)
    response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;  // its arguments are numbers: they stay what they were
  else
    response.error = -EPERM;
  (void)ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_SEND, &response);
}

}  // namespace oboro::supervisor
