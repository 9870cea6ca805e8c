#include "store/guest_directory.h"

#include <cctype>
#include <cstdio>
#include <sys/stat.h>

#include "base/io_error.h"
#include "store/files.h"
#include "store/state_dir.h"

namespace oboro::store {
namespace {

constexpr char kForm[] = "00000000-0000-0000-0000-000000000000";

std::string uuid_path(const std::string& directory) { return directory + "/uuid"; }

bool is_there(const std::string& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0;
}

// Whose the directory is; empty: nobody's yet.
Result<std::string> recorded_uuid(const std::string& directory) {
  auto text = read_file(uuid_path(directory), 64);
  if (!text) return text.error().code == Errc::not_found ? Result<std::string>(std::string()) : text.error();
  if (text->ends_with('\n')) text->pop_back();
  auto uuid = parse_uuid(*text);
  if (!uuid) return Error{Errc::invalid, uuid_path(directory) + ": " + uuid.error().message};
  return uuid;
}

// The lock keeps a run from beginning there meanwhile.
Result<void> take_over(const std::string& from, const std::string& to) {
  if (auto safe = check_state_directory(from); !safe) return safe;
  const auto lock = StateLock::take(from);
  if (!lock) return lock.error();
  if (::rename(from.c_str(), to.c_str()) != 0) return io_error(from + " to " + to);
  return {};
}

}  // namespace

Result<std::string> parse_uuid(const std::string& text) {
  std::string uuid;
  bool good = text.size() == sizeof kForm - 1;
  for (size_t i = 0; good && i < text.size(); ++i) {
    const auto digit = static_cast<unsigned char>(text[i]);
    good = kForm[i] == '-' ? digit == '-' : std::isxdigit(digit) != 0;
    uuid += static_cast<char>(std::tolower(digit));
  }
  if (!good) return Error{Errc::invalid, "'" + text.substr(0, 80) + "' is not a UUID"};
  return uuid == kForm ? std::string() : uuid;
}

Result<GuestDirectory> guest_directory(const std::string& below, const std::string& name, const std::string& uuid) {
  const std::string by_name = below + "/" + name;
  auto owner_by_name = recorded_uuid(by_name);
  if (!owner_by_name) return owner_by_name.error();
  if (uuid.empty()) {
    if (owner_by_name->empty()) return GuestDirectory{by_name, {}};
    return Error{Errc::invalid, by_name + ": is the state directory of the guest with the UUID " + *owner_by_name +
                                    ", and this one has no UUID"};
  }
  GuestDirectory found{below + "/" + uuid, {}};
  if (!is_there(found.path) && is_there(by_name) && owner_by_name->empty()) {
    if (auto done = take_over(by_name, found.path); !done) return done.error();
    found.taken_over = by_name;
  }
  if (auto made = create_state_directory(found.path); !made) return made.error();
  const auto owner = recorded_uuid(found.path);
  if (!owner) return owner.error();
  if (owner->empty()) {
    if (auto written = write_file_atomically(uuid_path(found.path), uuid + "\n"); !written) return written.error();
  } else if (*owner != uuid) {
    return Error{Errc::invalid, found.path + ": is the state directory of the guest with the UUID " + *owner +
                                    " (its file uuid says so), and this one has " + uuid};
  }
  return found;
}

}  // namespace oboro::store
