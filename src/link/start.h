// The start words: the settings that the shared object in a VMM gets by its command line or its environment.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace oboro::link {

inline constexpr size_t kProxyFds = 4;  // of Start::Proxy, in its order

// The supervisor's settings for the shared object: descriptors by number (-1: not given), and other values.
struct Start {
  int control = -1;       // the channel of control.h
  int settings = -1;      // memory file: Settings
  int ring = -1;          // stream::RingWriter
  int ring_read = -1;     // how far its reader is; not to be written
  int commands = -1;      // the channel by which the supervisor speaks first; closed when it is gone, as is control
  int lock = -1;          // open as long as the guest lives (store::StateLock)
  int ram = -1;           // TCG: memory file with the guest's RAM...
  uint64_t below_4g = 0;  // ... of which so many bytes are below 4 GiB
  std::string hooks;      // KVM: how to hook
  // The descriptors of a hidden service's proxy: the channel's three, and one that ends with the proxy.
  struct Proxy {
    int memory = -1, for_proxy = -1, for_tracer = -1, alive = -1;
  };
  std::vector<Proxy> proxies;  // in the order of the settings

  // Words of the form key=value. Errors: invalid (what is wrong).
  static Result<Start> parse(std::span<const std::string_view> words);
  // The same, separated by commas.
  static Result<Start> parse(std::string_view text);
  // Programs that this process starts do not get the descriptors.
  void keep_from_children() const;
};

// All of a file, for the life of the process; writable only if that is asked for. Errors: io.
Result<std::span<const std::byte>> map_whole(int fd, bool writable = false);

}  // namespace oboro::link
