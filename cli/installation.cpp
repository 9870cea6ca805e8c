#include "cli/installation.h"

#include <climits>
#include <cstdlib>
#include <string_view>
#include <unistd.h>

namespace oboro::cli {
namespace {

std::string own_directory() {
  char path[PATH_MAX];
  const ssize_t size = readlink("/proc/self/exe", path, sizeof path);
  const std::string_view view(path, size > 0 ? static_cast<size_t>(size) : 0);
  const size_t slash = view.rfind('/');
  return slash == std::string_view::npos ? std::string(".") : std::string(view.substr(0, slash));
}

}  // namespace

Result<Installation> find_installation() {
  const std::string here = own_directory();
  Installation found{
      {here + "/../lib/oboro-tcg.so", here + "/../lib/oboro-kvm.so"}, here + "/oboro-profile", here + "/oboro-proxy"};
  for (const std::string& part : {found.parts.plugin, found.parts.preload, found.builder, found.proxy})
    if (access(part.c_str(), R_OK) != 0)
      return Error{Errc::not_found, part + " is missing: this installation is incomplete"};
  return found;
}

}  // namespace oboro::cli
