// The calls of a tracer to a hidden service's proxy, and the proxy's answers: one frame each way for each call. The
// bytes are the same in a shared-memory ring (channel.h) and on a serial port. Each side takes the other for an
// attacker: the service that makes these calls may have been taken over, and so may the proxy.
//
// Layout, little endian: u32 size of the whole frame, u16 operation, u16 zero, u64 id, u32 handle, u32 size of the
// first part, 4 x i64 arguments, first part, second part. Op describes the arguments and the parts of each operation.
// Structures in parts are Linux's own for x86-64.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace oboro::proxy {

inline constexpr size_t kHeaderSize = 56;
inline constexpr size_t kMaxData = 1 << 20;  // of one call; a call that reads or writes more is cut short, as it may be
inline constexpr size_t kMaxPath = 4096;     // PATH_MAX, with the end
inline constexpr size_t kMaxFrame = kHeaderSize + kMaxData + kMaxPath;

// Operations are named after system calls. Variants that differ only in how a guest hands over its arguments are one
// operation. "-> ": the answer's members besides the result. Paths are absolute, from the proxy's own root.
enum class Op : uint16_t {
  answer = 0,  // from the proxy: arguments[0] the result or -errno, [1] as below
  open,    // first: path; arguments: flags, mode -> result: handle; arguments[1]: which file, the same for all that are
           // open on it
  close,   // handle
  read,    // handle; arguments: size, offset or -1 -> first: data
  write,   // handle; first: data; arguments: offset or -1
  lseek,   // handle; arguments: offset, whence
  statx,   // handle, or first: path with arguments[0] = 1 to follow a link at its end -> first: struct statx
  statfs,  // handle, or first: path -> first: struct statfs
  access,  // first: path; arguments: mode, 1 to follow
  truncate,      // handle, or first: path; arguments: size
  fallocate,     // handle; arguments: mode, offset, size
  fsync,         // handle; arguments: 1 for data only
  flock,         // handle; arguments: operation. Never blocks: EWOULDBLOCK
  rename,        // first: from; second: to; arguments: flags
  link,          // first: from; second: to; arguments: 1 to follow; handle: what must be there, or none
  unlink,        // first: path; arguments: 1 for a directory
  mkdir,         // first: path; arguments: mode
  symlink,       // first: target; second: path
  readlink,      // handle, or first: path -> first: target
  chmod,         // handle, or first: path; arguments: mode
  chown,         // handle, or first: path; arguments: uid, gid (-1: as it is), 1 to follow
  utimens,       // handle, or first: path; second: two struct timespec, or nothing (now); arguments: 1 to follow
  getdents,      // handle; arguments: size -> first: struct linux_dirent64
  setfl,         // handle; arguments: O_APPEND and O_NONBLOCK as they are to be
  ioctl,         // handle; arguments: request (FIONREAD, SIOCATMARK, SIOCOUTQ) -> arguments[1]: the value
  socket,        // arguments: family, type, protocol -> result: handle
  connect,       // handle; first: address
  bind,          // handle; first: address
  listen,        // handle; arguments: backlog
  accept,        // handle; arguments: flags -> result: handle; first: address
  send,          // handle; first: data; second: address or nothing; arguments: flags
  receive,       // handle; arguments: size, flags -> first: data; second: address; arguments[1]: msg_flags
  shutdown,      // handle; arguments: how
  getsockopt,    // handle; arguments: level, name, size -> first: value
  setsockopt,    // handle; arguments: level, name; first: value
  getsockname,   // handle -> first: address
  getpeername,   // handle -> first: address
  poll,          // first: struct pollfd with handles; waits until something is ready -> first: the same with revents
  cancel,        // arguments: id of a call, which is then answered, with -EINTR unless it was done already
  epoll_create,  // -> result: handle
  epoll_ctl,     // handle; arguments: operation, handle of a socket or of another, events, data
  epoll_wait,    // handle; arguments: most. Never waits (poll does) -> result: how many; first: struct epoll_event
  give_back,     // handle of a stream socket; first: what was received last and did not reach the service: it is next
  count,
};

struct Frame {
  Op op = Op::answer;
  uint64_t id = 0;
  uint32_t handle = 0;  // none: 0
  std::array<int64_t, 4> arguments{};
  std::span<const std::byte> first, second;

  int64_t result() const { return arguments[0]; }
  std::string_view text() const { return {reinterpret_cast<const char*>(first.data()), first.size()}; }
  std::string_view second_text() const { return {reinterpret_cast<const char*>(second.data()), second.size()}; }
};

// The frame's bytes before its parts. The parts must have at most kMaxFrame bytes together.
std::array<std::byte, kHeaderSize> header_of(const Frame& frame);
// `bytes` is one frame. The result's parts refer to it. Nothing: it is no frame.
std::optional<Frame> parse(std::span<const std::byte> bytes);

inline std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

}  // namespace oboro::proxy
