// The command line of oboro-proxy: as a service's proxy, as a relay (relay.h), or as the first process of a machine
// (init.h).
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "proxy/destination.h"
#include "proxy/lockdown.h"

namespace oboro::proxy {

struct Options {
  enum class Role { help, proxy, relay, init };
  Role role = Role::proxy;
  // Numbers of inherited descriptors; -1: the role has no such option.
  int memory = -1, for_proxy = -1, for_tracer = -1, root = -1, life = -1;
  int stream = -1, console = -1, ready = -1;
  std::string network;
  std::optional<std::vector<Destination>> to;  // addresses, no names
  std::vector<std::vector<std::byte>> denied;  // addresses, 4 or 16 bytes
  bool shared_disk = true;
  uint64_t max_disk = 0;  // bytes; 0: none was given
  Confinement confinement{};

  std::vector<int> descriptors() const;
};

extern const char kHelp[];

// words: without the program's name. Errors: invalid.
Result<Options> parse_options(std::span<const std::string> words);

}  // namespace oboro::proxy
