#include "link/control.h"

#include <errno.h>
#include <fmt/format.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

namespace oboro::link {

Result<void> send_message(int socket, char type, std::string_view payload, int fd) {
  iovec parts[2] = {{&type, 1}, {const_cast<char*>(payload.data()), payload.size()}};
  msghdr header{};
  header.msg_iov = parts;
  header.msg_iovlen = 2;
  alignas(cmsghdr) char space[CMSG_SPACE(sizeof(int))] = {};
  if (fd >= 0) {
    header.msg_control = space;
    header.msg_controllen = sizeof space;
    cmsghdr* control = CMSG_FIRSTHDR(&header);
    control->cmsg_level = SOL_SOCKET;
    control->cmsg_type = SCM_RIGHTS;
    control->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(control), &fd, sizeof fd);
  }
  for (;;) {
    if (sendmsg(socket, &header, MSG_NOSIGNAL) >= 0) return {};
    if (errno != EINTR) return Error{Errc::io, fmt::format("control channel: {}", strerror(errno))};
  }
}

Result<Message> receive_message(int socket, int timeout_ms) {
  pollfd wait{socket, POLLIN, 0};
  int ready;
  do {
    ready = poll(&wait, 1, timeout_ms);
  } while (ready < 0 && errno == EINTR);
  if (ready == 0) return Error{Errc::limit, "control channel: no answer in time"};

  std::string buffer(kMaxMessage, '\0');
  iovec part{buffer.data(), buffer.size()};
  alignas(cmsghdr) char space[CMSG_SPACE(sizeof(int))] = {};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = space;
  header.msg_controllen = sizeof space;
  ssize_t size;
  do {
    size = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
  } while (size < 0 && errno == EINTR);
  if (size < 0) return Error{Errc::io, fmt::format("control channel: {}", strerror(errno))};
  if (size == 0) return Error{Errc::io, "control channel: the other side is gone"};
  Message message;
  for (cmsghdr* control = CMSG_FIRSTHDR(&header); control; control = CMSG_NXTHDR(&header, control)) {
    if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS ||
        control->cmsg_len < CMSG_LEN(sizeof(int)))
      continue;
    // The space is padded, so that two fit: the last one counts, and none is left open.
    for (size_t at = CMSG_LEN(0); at + sizeof(int) <= control->cmsg_len; at += sizeof(int)) {
      int fd;
      memcpy(&fd, reinterpret_cast<const char*>(control) + at, sizeof fd);
      message.fd.reset(fd);
    }
  }
  if (header.msg_flags & MSG_TRUNC) return Error{Errc::invalid, "control channel: message too long"};
  message.type = buffer[0];
  buffer.resize(static_cast<size_t>(size));
  buffer.erase(0, 1);
  message.payload = std::move(buffer);
  return message;
}

}  // namespace oboro::link
