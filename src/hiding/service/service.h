// A hidden service: its processes, what of it is hidden, and its proxy.
#pragma once

#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "hiding/service/descriptors.h"
#include "hiding/service/proxy_client.h"
#include "hiding/service/shared.h"
#include "labels/pattern.h"
#include "steer/answerable.h"

namespace oboro::hiding {

using steer::Wait;

struct Service {
  std::string name;
  std::string exe;   // true path of the program; empty: any
  std::string unit;  // systemd unit; empty: any
  bool children = false;
  bool network = false;
  std::vector<labels::Pattern> files;
  RecordLocks locks;
  std::atomic<size_t> descriptor_count{0};  // of all its tables
  std::array<steer::Expectation, static_cast<size_t>(proxy::Op::count)>
      expectations{};                                       // of calls that wait for nobody
  std::mutex epolls_mutex;                                  // also of the instances themselves
  std::map<uint64_t, std::weak_ptr<EpollInstance>> epolls;  // by struct file; tables of descriptors hold them

  // The proxy that new calls go to.
  std::shared_ptr<ProxyClient> proxy() const { return proxy_.get(); }
  void set_first_proxy(std::shared_ptr<ProxyClient> proxy) { proxy_.set(std::move(proxy)); }
  // The proxy has been started again, at the other end of this channel. What was open in the last one stays broken.
  // Any thread. Errors: invalid (why it must not be).
  Result<void> renew_proxy(proxy::Channel channel, UniqueFd alive);
  // From now on nothing of this service is hidden (ProxyClient::give_up).
  void give_up() {
    const std::lock_guard lock(renewal_mutex_);
    proxy()->give_up();
  }

  // How often `what` has been refused by now. (A service that was taken over can name many things.)
  uint64_t count_refusal(const std::string& what) {
    constexpr size_t kMostKinds = 256;
    const std::lock_guard lock(refusals_mutex_);
    if (refusals_.size() >= kMostKinds && !refusals_.count(what)) return ++other_refusals_;
    return ++refusals_[what];
  }

  // path: absolute and normal. A pattern DIRECTORY/** hides the directory itself, too.
  bool hides(std::string_view path) const {
    if (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
    for (const labels::Pattern& pattern : files) {
      if (pattern.match(path)) return true;
      std::string_view text = pattern.text();
      if (text.ends_with("/**") && text.substr(0, text.size() - 3) == path) return true;
    }
    return false;
  }

 private:
  Shared<std::shared_ptr<ProxyClient>> proxy_;
  std::mutex renewal_mutex_;
  std::mutex refusals_mutex_;
  std::map<std::string, uint64_t> refusals_;
  uint64_t other_refusals_ = 0;
};

}  // namespace oboro::hiding
