// The proxies of hidden services: one sandboxed process each (src/proxy), which ends with the run.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "proxy/channel.h"
#include "session/settings.h"
#include "supervisor/child.h"

namespace oboro::supervisor {

struct HiddenService : session::HiddenService {
  std::vector<uint16_t> listen;  // ports that its proxy may bind
};

class Proxies {
 public:
  // program: oboro-proxy. Each has its root in state_dir/hidden/NAME, which is made, with the directories that lead to
  // what is hidden. Errors: io, and what the proxy itself says on standard error.
  static Result<Proxies> start(const std::vector<HiddenService>& services, const std::string& state_dir,
                               const std::string& program);

  // For the tracer, in the order of the services: the channel's memory, for-proxy and for-tracer, and one that ends
  // with the proxy.
  const std::vector<std::vector<int>>& tracer_fds() const { return tracer_fds_; }
  // The name of a service whose proxy has ended since the last question.
  std::optional<std::string> ended();

 private:
  struct One {
    std::string name;
    Child child;
    proxy::ChannelFds channel;  // for the tracer to inherit
    UniqueFd life;              // our end
    bool ended = false;
  };
  std::vector<One> all_;
  std::vector<std::vector<int>> tracer_fds_;
};

}  // namespace oboro::supervisor
