// A profile of no kernel that ever was: every member at an offset of its own, so that a mix-up of two shows.
#pragma once

#include "guest/profile/profile.h"

namespace oboro::fake {

inline constexpr uint64_t kImageSize = 8 << 20;
inline constexpr uint64_t kCurrentTask = 0x1a40;  // per-CPU offsets
inline constexpr uint64_t kTopOfStack = 0x1a48;

// Complete but for what no single kernel has at the same time: pcpu_hot, mount_next_for_sb, net_udp_table,
// udp_table_log, dentry_subdirs, dentry_child.
guest::Profile make_profile();

inline void set_missing(guest::Profile& profile, guest::Field field) {
  profile.fields[static_cast<size_t>(field)] = guest::Profile::kMissing;
}
inline void set_missing(guest::Profile& profile, guest::Symbol symbol) {
  profile.symbols[static_cast<size_t>(symbol)] = {};
}
inline void set_offset(guest::Profile& profile, guest::Field field, uint32_t offset) {
  profile.fields[static_cast<size_t>(field)] = offset;
}
inline void set_per_cpu(guest::Profile& profile, guest::Symbol symbol, uint64_t offset) {
  profile.symbols[static_cast<size_t>(symbol)] = {guest::SymbolValue::Kind::absolute, offset};
}

}  // namespace oboro::fake
