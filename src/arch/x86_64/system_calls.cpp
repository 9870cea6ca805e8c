#include "arch/x86_64/system_calls.h"

#include <array>

namespace oboro::arch {
namespace {

constexpr auto make_table() {
  std::array<std::string_view, kSystemCallCount> table{};
#define SYSTEM_CALL(number, name) table[number] = #name;
#include "arch/x86_64/system_calls.inc"
#undef SYSTEM_CALL
  return table;
}
constexpr auto kNames = make_table();

}  // namespace

std::string_view system_call_name(uint64_t number) {
  return number < kNames.size() ? kNames[number] : std::string_view();
}

bool may_receive(uint64_t number) {
  switch (number) {
    case sys::read:
    case sys::readv:
    case sys::pread64:
    case sys::preadv:
    case sys::preadv2:
    case sys::recvfrom:
    case sys::recvmsg:
    case sys::recvmmsg:
    case sys::splice:
    case sys::tee:
    case sys::vmsplice:
    case sys::sendfile:
    case sys::copy_file_range:
    case sys::msgrcv:
    case sys::mq_timedreceive:
    case sys::io_uring_enter:
      return true;
    default:
      return false;
  }
}

}  // namespace oboro::arch
