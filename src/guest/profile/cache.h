// Profiles on disk: <cache>/profiles/<key>.profile, the text of Profile::format(). The key is kernel_build_id()
// (build.h).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "guest/profile/profile.h"

namespace oboro::guest {

// Threads and processes may share one cache: an entry appears whole and at once, and the last writer wins.
class ProfileCache {
 public:
  // cache_directory: Oboro's cache. Nothing is touched until the first use.
  explicit ProfileCache(std::string_view cache_directory);

  // Nothing if there is no entry; or if the entry is corrupt, made for another version of Oboro, or writable by others
  // than this user. store() will replace it then.
  std::optional<Profile> load(std::string_view key) const;

  // Makes the directory (0700) where needed. Errors: invalid (the key is no kernel_build_id()), io.
  Result<void> store(std::string_view key, const Profile& profile) const;

 private:
  std::string directory_;
};

}  // namespace oboro::guest
