#include "link/control.h"

#include <errno.h>
#include <fmt/format.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <utility>

namespace oboro::link {

Result<void> send(int socket, const Body& body, uint32_t request, std::span<const int> fds) {
  std::string bytes = encode(body, request);
  if (bytes.size() > kMaxMessage || fds.size() > kMostFds)
    return Error{Errc::limit, fmt::format("control channel: {} is too long", name_of(type_of(body)))};
  iovec part{bytes.data(), bytes.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  alignas(cmsghdr) char space[CMSG_SPACE(kMostFds * sizeof(int))] = {};
  if (!fds.empty()) {
    header.msg_control = space;
    header.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* control = CMSG_FIRSTHDR(&header);
    control->cmsg_level = SOL_SOCKET;
    control->cmsg_type = SCM_RIGHTS;
    control->cmsg_len = CMSG_LEN(fds.size_bytes());
    memcpy(CMSG_DATA(control), fds.data(), fds.size_bytes());
  }
  for (;;) {
    if (sendmsg(socket, &header, MSG_NOSIGNAL) >= 0) return {};
    if (errno != EINTR) return Error{Errc::io, fmt::format("control channel: {}", strerror(errno))};
  }
}

Result<Message> receive(int socket, int timeout_ms) {
  pollfd wait{socket, POLLIN, 0};
  int ready;
  do {
    ready = poll(&wait, 1, timeout_ms);
  } while (ready < 0 && errno == EINTR);
  if (ready == 0) return Error{Errc::limit, "control channel: no answer in time"};

  std::string buffer(kMaxMessage, '\0');
  iovec part{buffer.data(), buffer.size()};
  alignas(cmsghdr) char space[CMSG_SPACE(kMostFds * sizeof(int))] = {};
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
    // The space may be padded, so there may be more. None is left open.
    for (size_t at = CMSG_LEN(0); at + sizeof(int) <= control->cmsg_len; at += sizeof(int)) {
      int fd;
      memcpy(&fd, reinterpret_cast<const char*>(control) + at, sizeof fd);
      UniqueFd owned(fd);
      if (message.fds.size() < kMostFds) message.fds.push_back(std::move(owned));
    }
  }
  if (header.msg_flags & MSG_TRUNC) return Error{Errc::limit, "control channel: message too long"};
  Result<Envelope> envelope = decode(std::string_view(buffer).substr(0, static_cast<size_t>(size)));
  if (!envelope) return envelope.error();
  message.request = envelope->request;
  message.body = std::move(envelope->body);
  return message;
}

}  // namespace oboro::link
