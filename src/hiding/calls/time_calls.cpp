// Times of files, in each of their forms. The proxy gets two struct timespec.

#include <cerrno>
#include <sys/stat.h>
#include <utime.h>

#include "hiding/calls/calls.h"

namespace oboro::hiding {

using proxy::Op;

namespace {

Routine<Outcome> set_times(Thread& thread, int directory, uint64_t user, std::vector<std::byte> times, bool follow,
                           bool may_be_empty = false) {
  if (!user) {
    const auto file = thread.descriptors->find(static_cast<uint32_t>(directory));
    if (!file) co_return Outcome{};
    ProxyCall frame = frame_of(Op::utimens, *file);
    frame.second = times;
    const Answer got = co_await thread.ask(frame);
    co_return answer(got.result());
  }
  co_return co_await on_path(thread, directory, user, Op::utimens, {follow}, nullptr, may_be_empty, std::move(times));
}

}  // namespace

Routine<Outcome> utimensat_call(Thread& thread, SystemCall call) {
  std::vector<std::byte> times;
  if (call.a[2]) {
    times.resize(2 * sizeof(timespec));
    if (const int64_t wrong = co_await thread.copy_in(call.a[2], times)) co_return answer(wrong);
  }
  co_return co_await set_times(thread, call.descriptor(0), call.a[1], std::move(times),
                               !(call.a[3] & AT_SYMLINK_NOFOLLOW), call.a[3] & AT_EMPTY_PATH);
}
// utime, utimes, futimesat.
Routine<Outcome> utimes_call(Thread& thread, SystemCall call) {
  const bool at = call.number == sys::futimesat, seconds = call.number == sys::utime;
  const uint64_t user = call.a[at ? 2 : 1];
  std::vector<std::byte> times;
  if (user) {
    std::array<int64_t, 4> in{};  // struct utimbuf, or two of struct timeval
    const size_t size = seconds ? sizeof(utimbuf) : sizeof in;
    if (const int64_t wrong = co_await thread.copy_in(user, std::as_writable_bytes(std::span(in)).first(size)))
      co_return answer(wrong);
    constexpr int64_t kMicroseconds = 1'000'000;
    for (const int64_t part : {in[1], in[3]})
      if (!seconds && (part < 0 || part >= kMicroseconds)) co_return answer(-EINVAL);
    const timespec out[2] = {{in[0], seconds ? 0 : in[1] * 1000},
                             {seconds ? in[1] : in[2], seconds ? 0 : in[3] * 1000}};
    const auto bytes = std::as_bytes(std::span(out));
    times.assign(bytes.begin(), bytes.end());
  }
  co_return co_await set_times(thread, at ? call.descriptor(0) : kHere, call.a[at ? 1 : 0], std::move(times), true);
}

}  // namespace oboro::hiding
