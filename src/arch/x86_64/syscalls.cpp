#include "arch/x86_64/syscalls.h"

#include <array>
#include <sys/syscall.h>

namespace oboro::arch {
namespace {

struct Entry {
  unsigned number;
  std::string_view name;
};
constexpr Entry kEntries[] = {
#include "arch/x86_64/syscall_names.inc"
};

constexpr auto make_table() {
  std::array<std::string_view, 512> table{};
  for (const Entry& entry : kEntries)
    if (entry.number < table.size()) table[entry.number] = entry.name;
  return table;
}
constexpr auto kNames = make_table();

}  // namespace

std::string_view syscall_name(uint64_t number) { return number < kNames.size() ? kNames[number] : std::string_view(); }

bool may_receive(uint64_t number) {
  switch (number) {
    case SYS_read:
    case SYS_readv:
    case SYS_pread64:
    case SYS_preadv:
    case SYS_preadv2:
    case SYS_recvfrom:
    case SYS_recvmsg:
    case SYS_recvmmsg:
    case SYS_splice:
    case SYS_tee:
    case SYS_vmsplice:
    case SYS_sendfile:
    case SYS_copy_file_range:
    case SYS_msgrcv:
    case SYS_mq_timedreceive:
    case SYS_io_uring_enter:
      return true;
    default:
      return false;
  }
}

}  // namespace oboro::arch
