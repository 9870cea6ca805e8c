// The channel between the engine side (in QEMU) and the supervisor (`oboro run`): a SOCK_SEQPACKET pair, one message a
// packet: a letter, then the payload. Used when a kernel is met, never for an operation of the guest.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"

namespace oboro::link {

inline constexpr size_t kMaxMessage = 160 * 1024;

// Engine side to supervisor                   payload                      answer
//   'K' what kernel is this?                  build ID, space, base (hex)  profile text: 'P' cached, 'N' newly built;
//        + the image's memory file (SCM_RIGHTS)                            'E' why there is none
//   'A' armed                                 a line each: release, build  none
//                                             ID, hooks, 1 if the profile
//                                             was cached, milliseconds
//   'U' the kernel cannot be traced           why                          'C' go on untraced; else QEMU is ended
//   'R' the guest was reset                   -                            none
//   'V' (KVM) a virtual machine has its first    -                            none
//        vCPU: the tracer is in its place
//   'W' detaching is not over yet             who keeps hooks in place     none
//   'D' detached: all hooks are out           why                          none
// Supervisor to engine side, on a channel of its own (KVM)
//   'D' take all hooks out, let the guest run on                           none
struct Message {
  char type = 0;
  std::string payload;
  UniqueFd fd;
};

Result<void> send_message(int socket, char type, std::string_view payload, int fd = -1);
// Waits at most timeout_ms (-1: for ever). Errors: io (also when the other side is gone), limit (time-out).
Result<Message> receive_message(int socket, int timeout_ms);

}  // namespace oboro::link
