#include "proxy/directories.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <string>
#include <sys/stat.h>

#include "base/fd.h"

namespace oboro::proxy {

Result<void> make_directories(int root, std::string_view path) {
  UniqueFd here(openat(root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  std::string_view rest = path;
  while (here && !rest.empty()) {
    const size_t slash = rest.find('/');
    const std::string name(rest.substr(0, slash));
    rest.remove_prefix(slash == std::string_view::npos ? rest.size() : slash + 1);
    if (name.empty() || name == ".") continue;
    if (name == "..") return Error{Errc::invalid, fmt::format("{}: leads upwards", path)};
    if (mkdirat(here.get(), name.c_str(), 0755) != 0 && errno != EEXIST) break;
    UniqueFd next(openat(here.get(), name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!next && (errno == ENOTDIR || errno == ELOOP)) return {};
    here = std::move(next);
  }
  if (!rest.empty() || !here) return Error{Errc::io, fmt::format("{}: {}", path, std::strerror(errno))};
  return {};
}

}  // namespace oboro::proxy
