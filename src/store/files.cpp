#include "store/files.h"

#include <cerrno>
#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/io_error.h"

namespace oboro::store {
namespace {

constexpr int kMaxDepth = 16;

}  // namespace

Result<std::string> read_file(const std::string& path, size_t bound) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return io_error(path);
  std::string text;
  char buffer[16384];
  for (;;) {
    const ssize_t count = ::read(fd.get(), buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return io_error(path);
    if (count == 0) return text;
    if (text.size() + static_cast<size_t>(count) > bound)
      return Error{Errc::limit, path + ": larger than " + std::to_string(bound) + " bytes"};
    text.append(buffer, static_cast<size_t>(count));
  }
}

Result<void> write_file_atomically(const std::string& path, std::string_view content) {
  const std::string temporary = path + ".new";
  UniqueFd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return io_error(temporary);
  if (!write_all(fd.get(), content) || ::fdatasync(fd.get()) != 0 || ::rename(temporary.c_str(), path.c_str()) != 0) {
    const Error error = io_error(path);
    ::unlink(temporary.c_str());
    return error;
  }
  return {};
}

Result<nlohmann::json> parse_json(std::string_view text, const std::string& where) {
  bool too_deep = false;
  const auto bounded = [&](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
    too_deep = too_deep || depth > kMaxDepth;
    return !too_deep;
  };
  try {
    auto json = nlohmann::json::parse(text, bounded);
    if (too_deep) return Error{Errc::invalid, where + ": nested too deeply"};
    return json;
  } catch (const nlohmann::json::exception& error) {
    // "[json.exception.parse_error.101] parse error at line 1, column 1: ..."; the id in brackets helps nobody.
    const std::string_view what = error.what();
    const size_t end = what.find("] ");
    return Error{Errc::invalid, where + ": " + std::string(end == what.npos ? what : what.substr(end + 2))};
  }
}

}  // namespace oboro::store
