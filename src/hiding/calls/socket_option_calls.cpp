// The options of sockets.

#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <sys/socket.h>

#include "hiding/calls/calls.h"

namespace oboro::hiding {

using proxy::Op;

namespace {
constexpr size_t kMaxOption = 4096;

void report_option(Thread& thread, const SystemCall& call) {
  refuse(thread, "",
         fmt::format("socket option {} of level {}", static_cast<int32_t>(call.a[2]), static_cast<int32_t>(call.a[1])),
         -ENOPROTOOPT);
}

}  // namespace

Routine<Outcome> setsockopt_call(Thread& thread, SystemCall call) {
  int64_t error = 0;
  const auto file = socket_of(thread, call, error);
  if (!file) co_return answer(error);
  if (static_cast<uint32_t>(call.a[4]) > kMaxOption) co_return answer(-EINVAL);
  std::vector<std::byte> value(static_cast<uint32_t>(call.a[4]));
  if ((error = co_await thread.copy_in(call.a[3], value))) co_return answer(error);
  ProxyCall frame = frame_of(Op::setsockopt, *file, {static_cast<int32_t>(call.a[1]), static_cast<int32_t>(call.a[2])});
  frame.first = value;
  const Answer got = co_await thread.ask(frame);
  if (got.result() == -ENOPROTOOPT) report_option(thread, call);
  if (got.result() == 0 && call.a[1] == SOL_SOCKET && value.size() >= 2 * sizeof(int64_t)) {
    std::array<int64_t, 2> time{};
    std::memcpy(time.data(), value.data(), sizeof time);
    const bool limited = time[0] != 0 || time[1] != 0;
    if (call.a[2] == SO_RCVTIMEO || call.a[2] == 66) file->receive_limited = limited;  // SO_RCVTIMEO_NEW
    if (call.a[2] == SO_SNDTIMEO || call.a[2] == 67) file->send_limited = limited;
  }
  co_return answer(got.result());
}

Routine<Outcome> getsockopt_call(Thread& thread, SystemCall call) {
  int64_t error = 0;
  const auto file = socket_of(thread, call, error);
  if (!file) co_return answer(error);
  int32_t size = 0;
  if ((error = co_await thread.copy_in(call.a[4], std::as_writable_bytes(std::span(&size, 1)))))
    co_return answer(error);
  if (size < 0) co_return answer(-EINVAL);
  size = std::min<int32_t>(size, kMaxOption);
  const Answer got = co_await thread.ask(
      frame_of(Op::getsockopt, *file, {static_cast<int32_t>(call.a[1]), static_cast<int32_t>(call.a[2]), size}));
  if (got.result() == -ENOPROTOOPT) report_option(thread, call);
  if (got.result() < 0) co_return answer(got.result());
  const auto value = got.frame.first.first(std::min<size_t>(got.frame.first.size(), static_cast<size_t>(size)));
  if ((error = co_await thread.copy_out(call.a[3], value))) co_return answer(error);
  size = static_cast<int32_t>(value.size());
  co_return answer(co_await thread.copy_out(call.a[4], std::as_bytes(std::span(&size, 1))));
}

}  // namespace oboro::hiding
