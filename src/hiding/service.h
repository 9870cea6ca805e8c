// A hidden service: which processes are it, what of it is hidden, and its proxy.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "diffusion/pattern.h"
#include "hiding/descriptors.h"
#include "hiding/proxy_client.h"

namespace oboro::hiding {

// How a thread waits for its proxy.
enum class Wait : uint8_t {
  block,  // the vCPU stands still meanwhile (the older method, for comparison)
  yield,  // sched_yield in the guest's kernel until the answer is there (the paper's)
  park,   // a few of those, then sleeps of growing length
};

// One of the guest's own epoll instances that was told to watch hidden sockets: the proxy has one that watches them.
struct EpollInstance {
  struct Watched {
    uint32_t number = 0;
    std::weak_ptr<OpenFile> file;
    uint64_t data = 0;
  };
  uint64_t eventpoll = 0;  // file.private_data in the guest: what it was made for
  std::shared_ptr<OpenFile> in_proxy;
  std::vector<Watched> watched;  // for when the proxy is gone
};

struct Service {
  std::string name;
  std::string exe;   // true path of the program; empty: any
  std::string unit;  // systemd unit; empty: any
  bool children = false;
  bool network = false;
  std::vector<diffusion::Pattern> files;
  std::unique_ptr<ProxyClient> proxy;
  RecordLocks locks;
  std::mutex epolls_mutex;
  std::map<uint64_t, EpollInstance> epolls;  // by struct file

  // path: absolute and normal. What a pattern DIRECTORY/** covers includes the directory.
  bool hides(std::string_view path) const {
    if (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
    for (const diffusion::Pattern& pattern : files) {
      if (pattern.match(path)) return true;
      std::string_view text = pattern.text();
      if (text.ends_with("/**") && text.substr(0, text.size() - 3) == path) return true;
    }
    return false;
  }
};

}  // namespace oboro::hiding
