// A network for fuzz targets of the proxy: a namespace of this process with nobody but itself. At kPeer somebody
// answers; kHost, loopback and [::1] are what the proxy takes for its own host, and nobody may come there.
#pragma once

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <span>
#include <string_view>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <vector>

#include "base/fd.h"
#include "proxy/network_policy.h"

namespace oboro::proxy {

class FuzzNetwork {
 public:
  static constexpr char kPeer[] = "10.9.9.1", kHost[] = "10.9.9.2";
  static constexpr uint16_t kPort = 6000, kListen = 5140;

  FuzzNetwork() {
    if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
      std::fprintf(stderr, "no network namespace can be made here: sockets are not looked at\n");
      return;
    }
    const UniqueFd any(socket(AF_INET, SOCK_DGRAM, 0));
    ifreq request{};
    std::strcpy(request.ifr_name, "lo");
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    if (ioctl(any.get(), SIOCSIFFLAGS, &request) != 0) std::abort();
    for (const auto& [name, host] : {std::pair("lo:1", kPeer), std::pair("lo:2", kHost)}) {
      std::strcpy(request.ifr_name, name);
      const sockaddr_in in = four(host, 0);
      std::memcpy(&request.ifr_addr, &in, sizeof in);
      if (ioctl(any.get(), SIOCSIFADDR, &request) != 0) std::abort();
    }
    peer_ = opened(four(kPeer, kPort));
    hosts_.push_back(opened(four(kHost, kPort)));
    hosts_.push_back(opened(four("127.0.0.1", kPort)));
    sockaddr_in6 six{};
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(kPort);
    six.sin6_addr = in6addr_loopback;
    if (UniqueFd(socket(AF_INET6, SOCK_DGRAM, 0))) hosts_.push_back(opened(six));
    there_ = true;
  }

  bool is_there() const { return there_; }
  NetworkPolicy policy() const {
    NetworkPolicy policy;
    policy.remote = there_;
    if (there_) policy.listen = {kListen};
    policy.is_own = [](std::span<const std::byte> address) {
      const sockaddr_in host = four(kHost, 0);
      return address.size() == sizeof host.sin_addr && std::memcmp(address.data(), &host.sin_addr, address.size()) == 0;
    };
    return policy;
  }
  static constexpr unsigned kToListen = 72;  // of address(): kPeer, kListen
  // A socket address, as one of those that are worth a try.
  static std::vector<std::byte> address(unsigned which) {
    constexpr std::array kHosts = {kPeer, kHost, kPeer, kPeer, kPeer, "127.0.0.1", "0.0.0.0"};
    constexpr std::array kHosts6 = {"::ffff:10.9.9.1", "::ffff:10.9.9.2", "::ffff:127.0.0.1", "::1", "::"};
    const uint16_t port = std::array<uint16_t, 4>{kPort, kPort, kListen, 0}[which / 32 % 4];
    std::vector<std::byte> out;
    const auto put = [&](const auto& in) {
      const auto bytes = std::as_bytes(std::span(&in, 1));
      out.assign(bytes.begin(), bytes.end());
    };
    if (which / 8 % 3 != 2) {
      put(four(kHosts[which % kHosts.size()], port));
    } else {
      sockaddr_in6 six{};
      six.sin6_family = AF_INET6;
      six.sin6_port = htons(port);
      inet_pton(AF_INET6, kHosts6[which % kHosts6.size()], &six.sin6_addr);
      put(six);
    }
    return out;
  }

  // The peer does its part.
  void turn() {
    if (!there_) return;
    for (UniqueFd connection; (connection = accepted(peer_)); last_ = std::move(connection)) say(connection.get());
    std::array<char, 100> data;
    sockaddr_in from{};
    socklen_t size = sizeof from;
    while (recvfrom(peer_.datagram.get(), data.data(), data.size(), MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&from),
                    &size) >= 0) {
      if (from.sin_addr.s_addr != four(kHost, 0).sin_addr.s_addr)
        (void)sendto(peer_.datagram.get(), data.data(), 50, MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&from), size);
      size = sizeof from;
    }
  }
  // Nobody has come to what is this host.
  void check() const {
    char byte = 0;
    for (const Ends& host : hosts_)
      if (accepted(host) || recv(host.datagram.get(), &byte, 1, MSG_DONTWAIT) >= 0) std::abort();
  }

 private:
  struct Ends {
    UniqueFd listening, datagram;
  };

  static sockaddr_in four(const char* host, uint16_t port) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(port);
    inet_pton(AF_INET, host, &in.sin_addr);
    return in;
  }
  template <typename T>
  static Ends opened(const T& at) {
    const auto* name = reinterpret_cast<const sockaddr*>(&at);
    Ends ends{UniqueFd(socket(name->sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0)),
              UniqueFd(socket(name->sa_family, SOCK_DGRAM | SOCK_NONBLOCK, 0))};
    for (const UniqueFd* fd : {&ends.listening, &ends.datagram})
      if (bind(fd->get(), name, sizeof at) != 0) std::abort();
    if (listen(ends.listening.get(), 100) != 0) std::abort();
    return ends;
  }
  static UniqueFd accepted(const Ends& ends) {
    return UniqueFd(accept4(ends.listening.get(), nullptr, nullptr, SOCK_NONBLOCK));
  }
  static void say(int connection) {
    constexpr std::string_view kWords = "what the peer says to whoever comes";
    (void)send(connection, kWords.data(), kWords.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)send(connection, "!", 1, MSG_DONTWAIT | MSG_NOSIGNAL | MSG_OOB);
  }

  bool there_ = false;
  Ends peer_;
  std::vector<Ends> hosts_;
  UniqueFd last_;  // whose other end may go on
};

}  // namespace oboro::proxy
