#include "proxy/epolls.h"

#include <algorithm>
#include <cerrno>
#include <sys/epoll.h>
#include <utility>

#include "proxy/bytes.h"

namespace oboro::proxy {
namespace {

struct Epoll final : Handle {
  Epoll(UniqueFd fd_, std::shared_ptr<std::atomic<size_t>> open)
      : Handle(Kind::epoll, std::move(fd_)), open_(std::move(open)) {
    ++*open_;
  }
  ~Epoll() { --*open_; }
  Epoll(const Epoll&) = delete;
  Epoll& operator=(const Epoll&) = delete;

 private:
  std::shared_ptr<std::atomic<size_t>> open_;
};

}  // namespace

int64_t Epolls::create() {
  if (!network_) return -EACCES;  // as for a socket
  if (*open_ >= kMost) return -ENOSPC;
  UniqueFd fd(epoll_create1(EPOLL_CLOEXEC));
  if (!fd) return -errno;
  const uint32_t number = handles_.add(std::make_shared<Epoll>(std::move(fd), open_));
  return number ? int64_t{number} : -ENFILE;
}

int64_t Epolls::control(const Frame& call) {
  const auto instance = handles_.find(call.handle);
  const auto target = handles_.find(static_cast<uint32_t>(call.arguments[1]));
  if (!instance || !target) return -EBADF;
  if (target->kind != Handle::Kind::socket && target->kind != Handle::Kind::epoll) return -EPERM;
  if (instance->kind != Handle::Kind::epoll) return -EINVAL;
  const int64_t operation = call.arguments[0];
  if (operation != EPOLL_CTL_ADD && operation != EPOLL_CTL_MOD && operation != EPOLL_CTL_DEL) return -EINVAL;
  epoll_event event{};
  event.events = static_cast<uint32_t>(call.arguments[2]);
  event.data.u64 = static_cast<uint64_t>(call.arguments[3]);
  return epoll_ctl(instance->fd.get(), static_cast<int>(operation), target->fd.get(), &event) ? -errno : 0;
}

int64_t Epolls::take(const Frame& call, std::vector<std::byte>& out) {
  const auto instance = handles_.find(call.handle);
  if (!instance) return -EBADF;
  if (instance->kind != Handle::Kind::epoll || call.arguments[0] <= 0) return -EINVAL;
  std::vector<epoll_event> events(static_cast<size_t>(std::min<int64_t>(call.arguments[0], kMostEvents)));
  const int count = epoll_wait(instance->fd.get(), events.data(), static_cast<int>(events.size()), 0);
  if (count < 0) return -errno;
  put(out, events.data(), static_cast<size_t>(count) * sizeof(epoll_event));
  return count;
}

Done Epolls::execute(const Frame& call) {
  Done outcome;
  switch (call.op) {
    case Op::epoll_create:
      outcome.result = create();
      break;
    case Op::epoll_ctl:
      outcome.result = control(call);
      break;
    default:
      outcome.result = take(call, outcome.first);
  }
  return outcome;
}

}  // namespace oboro::proxy
