// Calls of a tracer's side that has been taken over.
#pragma once

#include <array>
#include <cstdint>
#include <fcntl.h>
#include <limits>
#include <linux/falloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <random>
#include <string>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "proxy/wire.h"

namespace oboro::proxy {

// Calls that are wrong in as many ways as there are, and right often enough to get further than the first check.
class CallGenerator {
 public:
  explicit CallGenerator(uint64_t seed) : random_(seed) {}

  struct Made {
    Op op;
    uint32_t handle;
    std::array<int64_t, 4> arguments;
    std::string first, second;
  };
  Made make() {
    // Op::cancel is how those that wait are ended later.
    Made made{static_cast<Op>(below(static_cast<uint64_t>(Op::count))), handle(), {}, {}, {}};
    for (int64_t& argument : made.arguments) argument = number();
    if (made.op == Op::open && chance(2)) made.arguments[0] = pick<int64_t>({O_RDWR | O_CREAT, O_RDONLY, O_DIRECTORY});
    if (made.op == Op::socket && chance(2))
      made.arguments = {pick<int64_t>({AF_INET, AF_INET6}), pick<int64_t>({SOCK_STREAM, SOCK_DGRAM}), 0, 0};
    if (made.op == Op::epoll_ctl && !chance(4))
      made.arguments = {pick<int64_t>({EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL}), handle(), number(), number()};
    if ((made.op == Op::getsockopt || made.op == Op::setsockopt) && chance(2))
      made.arguments[0] = pick<int64_t>({SOL_SOCKET, IPPROTO_TCP, IPPROTO_IP, IPPROTO_IPV6});
    if (made.op == Op::chmod && chance(2)) made.arguments[0] |= 0700;  // else soon nothing can be opened
    made.first = part(made.op);
    made.second = part(made.op);
    return made;
  }
  void learn(int64_t handle) {
    if (handles_.size() < 32)
      handles_.push_back(static_cast<uint32_t>(handle));
    else
      handles_[below(32)] = static_cast<uint32_t>(handle);
  }
  uint64_t below(uint64_t limit) { return random_() % limit; }
  bool chance(uint64_t one_in) { return below(one_in) == 0; }

 private:
  template <typename T>
  T pick(std::initializer_list<T> from) {
    return from.begin()[below(from.size())];
  }
  uint32_t handle() {
    if (chance(3)) return 0;
    if (!handles_.empty() && !chance(8)) return handles_[below(handles_.size())];
    return static_cast<uint32_t>(pick<uint64_t>({1, 0xffffffff, 0x7fffffff, random_()}));
  }
  int64_t number() {
    return pick<int64_t>({0,
                          0,
                          1,
                          1,
                          2,
                          3,
                          -1,
                          -2,
                          16,
                          255,
                          4096,
                          65536,
                          kMaxData,
                          kMaxData + 1,
                          1 << 30,
                          std::numeric_limits<int64_t>::max(),
                          std::numeric_limits<int64_t>::min(),
                          int64_t{1} << 32,
                          -int64_t{1} << 32,
                          O_CREAT | O_RDWR,
                          O_TRUNC | O_WRONLY | O_CREAT,
                          AT_FDCWD,
                          MSG_WAITALL,
                          MSG_PEEK | MSG_DONTWAIT,
                          FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                          FIONREAD,
                          SO_LINGER,
                          SO_RCVTIMEO,
                          SO_REUSEADDR,
                          TCP_NODELAY,
                          static_cast<int64_t>(random_())});
  }
  std::string path() {
    std::string made = pick<const char*>({"/", "", "/", "../"});
    for (uint64_t names = below(5); names > 0; --names) {
      made += pick<const char*>({"a", "b", "c", "deep", "er", "..", ".", "", "outside", "inside", "beside", "root",
                                 "proc", "self", "fd", "up", "x\ny", "\xff\xfe"});
      made += pick<const char*>({"/", "/", "", "//"});
    }
    if (chance(50)) made += std::string(below(6000), 'n');
    if (chance(50)) made += '\0';
    return made;
  }
  std::string address() {
    if (chance(2)) {
      sockaddr_in in{};
      in.sin_family = pick<sa_family_t>({AF_INET, AF_INET, AF_INET, AF_UNSPEC, AF_UNIX, 77});
      in.sin_port = htons(pick<uint16_t>({0, 5140, 5140, 22, 9999}));
      in.sin_addr.s_addr = htonl(pick<uint32_t>({0, INADDR_LOOPBACK, 0x0a090901, 0x0a090902, 0xffffffff, 0xe0000001}));
      return std::string(raw(in)).substr(0, pick<size_t>({sizeof in, sizeof in, sizeof in, 1, 2, 8}));
    }
    sockaddr_in6 in{};
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(5140);
    inet_pton(AF_INET6, pick<const char*>({"::", "::1", "::ffff:127.0.0.1", "fe80::1", "2001:db8::1"}), &in.sin6_addr);
    return std::string(raw(in)).substr(0, pick<size_t>({sizeof in, sizeof in, 24, 27}));
  }
  std::string part(Op op) {
    if (op == Op::poll) {
      std::string asked;
      for (uint64_t count = below(chance(20) ? 1100 : 5); count > 0; --count) {
        const pollfd one{static_cast<int>(handle()), static_cast<short>(random_()), 0};
        asked += raw(one);
      }
      return asked;
    }
    switch (below(op >= Op::open && op <= Op::setfl ? 4 : 10)) {
      case 0:
      case 1:
        return path();
      case 2:
        return {};
      case 3: {
        std::string bytes(below(chance(100) ? kMaxData : 300), '\0');
        for (char& byte : bytes) byte = static_cast<char>(random_());
        return bytes;
      }
      default:
        return address();
    }
  }

  std::mt19937_64 random_;
  std::vector<uint32_t> handles_;
};

}  // namespace oboro::proxy
