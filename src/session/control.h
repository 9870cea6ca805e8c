// The channel between the engine side (in QEMU) and the supervisor (`oboro run`): a SOCK_SEQPACKET pair, one message a
// packet: a letter, then the payload. Used when a kernel is met, never for an operation of the guest.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"

namespace oboro::session {

inline constexpr size_t kMaxMessage = 160 * 1024;

// Engine side to supervisor                   payload                      answer
//   'F' find the cached profile               image key                    'P' profile text, or 'M' (miss)
//   'B' build a profile                       image key, space, base (hex) 'P', or 'E' why not
//        + the image's memory file (SCM_RIGHTS)
//   'A' armed                                 JSON members of status       none
//   'U' the kernel cannot be traced           why                          'C' go on untraced; else QEMU is ended
//   'R' the guest was reset                   -                            none
struct Message {
  char type = 0;
  std::string payload;
  UniqueFd fd;
};

Result<void> send_message(int socket, char type, std::string_view payload, int fd = -1);
// Waits at most timeout_ms (-1: for ever). Errors: io (also when the other side is gone), limit (time-out).
Result<Message> receive_message(int socket, int timeout_ms);

}  // namespace oboro::session
