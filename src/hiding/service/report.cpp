// What hidden services did, for the log. Inside the guest nobody can see it.

#include <bit>
#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <sys/socket.h>

#include "hiding/calls/calls.h"
#include "hooks/describe.h"

namespace oboro::hiding {
namespace {

// The number may be anything: it comes from a proxy, which may have been taken over.
std::string error_text(int64_t error) {
  constexpr int64_t kLast = 4095;
  const char* text = error >= -kLast ? strerrordesc_np(static_cast<int>(-error)) : nullptr;
  return text ? text : fmt::format("error {}", error);
}

void send(Thread& thread, event::Event& event, event::Hidden done, int64_t result) {
  hooks::Operation& op = thread.operation();
  done.service = thread.service().name;
  if (result < 0 && result != -EINPROGRESS) done.error = error_text(result);
  event.set(std::move(done));
  hooks::describe_subject(op, event, op.task());
  const auto lock = op.env.carriers.lock();
  event.labels = op.env.carriers.labels(op.process());
  op.env.reporter.report(event);
}

}  // namespace

void report(Thread& thread, const OpenFile& file, event::Hidden done, int64_t result) {
  if (!file.is_socket) return report_path(thread, file.path, std::move(done), result);
  event::Event event;
  event.object.type = event::ObjectType::socket;
  event.object.protocol = file.type == SOCK_STREAM ? "tcp" : "udp";
  event.object.remote = file.peer.get();
  send(thread, event, std::move(done), result);
}

void report_socket(Thread& thread, OpenFile& file, std::span<const std::byte> address, event::Hidden done,
                   int64_t result) {
  file.peer.set(endpoint_of(address));
  report(thread, file, std::move(done), result);
}

void report_path(Thread& thread, const std::string& path, event::Hidden done, int64_t result) {
  event::Event event;
  if (!path.empty()) {
    event.object.type = event::ObjectType::file;
    event.object.path = path;
    event.object.fs_type = "hidden";
  }
  send(thread, event, std::move(done), result);
}

void Thread::log(hooks::Operation& op, const char* what) {
  operation_ = &op;
  number_ = op.system_call();
  report_path(*this, {}, {.operation = what}, 0);
  operation_ = nullptr;
}

int64_t refuse(Thread& thread, const std::string& path, std::string what, int64_t error) {
  const uint64_t times = thread.service().count_refusal(what);
  constexpr uint64_t kEachUpTo = 8;
  if (times > kEachUpTo && !std::has_single_bit(times)) return error;
  report_path(thread, path, {.operation = std::move(what), .refused = true, .times = times > kEachUpTo ? times : 0},
              error);
  return error;
}

}  // namespace oboro::hiding
