// The epoll instances of a hidden service, as far as they watch its sockets here. A call waits for them by poll
// (sockets.h). None of the calls here waits.
//
// Threads: one.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <vector>

#include "proxy/files.h"
#include "proxy/handles.h"
#include "proxy/wire.h"

namespace oboro::proxy {

class Epolls {
 public:
  static constexpr size_t kMost = 256, kMostEvents = 1024;

  // network: whether there can be sockets to watch.
  Epolls(Handles& handles, bool network) : handles_(handles), network_(network) {}

  static bool is_epoll_call(Op op) { return op >= Op::epoll_create && op <= Op::epoll_wait; }
  Done execute(const Frame& call);

 private:
  int64_t create();
  int64_t control(const Frame& call);
  int64_t take(const Frame& call, std::vector<std::byte>& out);

  Handles& handles_;
  const bool network_;
  std::shared_ptr<std::atomic<size_t>> open_ = std::make_shared<std::atomic<size_t>>(0);  // a handle may be the last
};

}  // namespace oboro::proxy
