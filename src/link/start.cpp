#include "link/start.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <vector>

#include "base/number.h"

namespace oboro::link {
Result<Start> Start::parse(std::span<const std::string_view> words) {
  Start start;
  for (const std::string_view word : words) {
    const size_t equals = word.find('=');
    const std::string_view key = word.substr(0, equals);
    const std::string_view value = equals == std::string_view::npos ? std::string_view() : word.substr(equals + 1);
    bool understood = false;
    for (const auto& [name, fd] :
         {std::pair("control", &start.control), std::pair("settings", &start.settings), std::pair("ring", &start.ring),
          std::pair("ring-read", &start.ring_read), std::pair("ram", &start.ram), std::pair("lock", &start.lock),
          std::pair("commands", &start.commands)})
      if (key == name) understood = parse_number(value, *fd) && *fd >= 0;
    if (key == "below-4g") understood = parse_number(value, start.below_4g);
    if (key == "proxy") {  // memory:for-proxy:for-tracer:alive
      Proxy& proxy = start.proxies.emplace_back();
      std::string_view rest = value;
      understood = true;
      for (int* fd : {&proxy.memory, &proxy.for_proxy, &proxy.for_tracer, &proxy.alive}) {
        const size_t colon = rest.find(':');
        understood = understood && parse_number(rest.substr(0, colon), *fd) && *fd >= 0;
        rest = colon == std::string_view::npos ? std::string_view() : rest.substr(colon + 1);
      }
      understood = understood && rest.empty();
    }
    if (key == "hooks") {
      start.hooks = value;
      understood = !value.empty();
    }
    if (!understood) return Error{Errc::invalid, fmt::format("'{}' is not understood", word)};
  }
  if (start.control < 0 || start.settings < 0 || start.ring < 0 || start.ring_read < 0)
    return Error{Errc::invalid, "control, settings, ring or ring-read is missing"};
  return start;
}

Result<Start> Start::parse(std::string_view text) {
  std::vector<std::string_view> words;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    words.push_back(text.substr(0, comma));
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
  }
  return parse(words);
}

void Start::keep_from_children() const {
  std::vector<int> fds = {control, settings, ring, ring_read, commands, ram, lock};
  for (const Proxy& proxy : proxies)
    fds.insert(fds.end(), {proxy.memory, proxy.for_proxy, proxy.for_tracer, proxy.alive});
  for (const int fd : fds)
    if (fd >= 0) fcntl(fd, F_SETFD, FD_CLOEXEC);
}

Result<std::span<const std::byte>> map_whole(int fd, bool writable) {
  struct stat info {};
  if (fstat(fd, &info) != 0) return Error{Errc::io, strerror(errno)};
  if (info.st_size <= 0) return Error{Errc::invalid, "is empty"};
  const auto size = static_cast<size_t>(info.st_size);
  const void* at = mmap(nullptr, size, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) return Error{Errc::io, strerror(errno)};
  return std::span(static_cast<const std::byte*>(at), size);
}

}  // namespace oboro::link
