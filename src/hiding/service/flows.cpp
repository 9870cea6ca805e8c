// Labels between a hidden service and files and sockets outside: as in the guest, files bear labels, and a send to
// another machine is a leak.

#include <cstring>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/stat.h>

#include "guest/socket.h"
#include "hiding/calls/calls.h"

namespace oboro::hiding {
namespace {

using labels::Carrier;
using labels::CarrierKind;

uint64_t digest(std::string_view text, uint64_t seed) {
  for (const char c : text) seed = (seed ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return seed;
}

// Calls fn(node) with the hidden file as a carrier. The carrier is known by what the file is and not by its name, as
// with every file.
template <typename Fn>
void with_node(Thread& thread, const OpenFile& file, Fn fn) {
  event::Object object;
  object.type = event::ObjectType::file;
  object.path = file.path;
  object.fs = "hidden:" + thread.service().name;
  object.fs_type = "hidden";
  const std::string_view identity(reinterpret_cast<const char*>(&file.identity), sizeof file.identity);
  fn(hooks::Node{{CarrierKind::file, digest(identity, digest(thread.service().name, 0xcbf29ce484222325))},
                 hooks::OutsideFileNode{&object}});
}

}  // namespace

void classify(Thread& thread, const OpenFile& file) {
  hooks::Operation& op = thread.operation();
  const uint64_t labels = op.env.patterns.match(file.path);
  if (!labels) return;
  const labels::Pattern* pattern = op.env.patterns.first_match(file.path);
  with_node(thread, file, [&](const hooks::Node& node) {
    if (labels & ~op.env.carriers.labels(node.carrier))
      op.classify(node, labels, pattern ? pattern->text() : std::string());
  });
}

Routine<int64_t> classify_before_renaming(Thread& thread, const std::string& from, const std::string& to) {
  const labels::PatternSet& patterns = thread.operation().env.patterns;
  const bool covered = patterns.match(from) != 0, below = patterns.may_match_below(from, to);
  if (!covered && !below) co_return 0;
  const Answer what = co_await thread.ask(path_frame(proxy::Op::statx, from, {0}));
  struct statx status {};
  if (what.result() < 0 || what.frame.first.size() != sizeof status) co_return 0;  // the call itself finds the error
  std::memcpy(&status, what.frame.first.data(), sizeof status);
  if (S_ISDIR(status.stx_mode)) {
    if (below)
      thread.operation().env.reporter.incomplete("a hidden directory that may hold classified files was renamed");
    co_return 0;
  }
  if (!covered) co_return 0;
  const Answer got = co_await thread.ask(path_frame(proxy::Op::open, from, {O_PATH | O_NOFOLLOW}));
  if (got.result() <= 0) co_return 0;
  const auto file = thread.open_file(got);
  file->path = from;
  file->identity = static_cast<uint64_t>(got.frame.arguments[1]);
  classify(thread, *file);
  co_return 0;
}

void give_labels(Thread& thread, const OpenFile& file) {
  hooks::Operation& op = thread.operation();
  if (file.is_socket || !op.labels()) return;
  with_node(thread, file, [&](const hooks::Node& node) { op.give(node); });
}

void take_labels(Thread& thread, const OpenFile& file) {
  hooks::Operation& op = thread.operation();
  if (file.is_socket || !op.env.carriers.any_file()) return;
  with_node(thread, file, [&](const hooks::Node& node) { op.take(node); });
}

bool may_send(Thread& thread, const OpenFile& file, std::span<const std::byte> address) {
  hooks::Operation& op = thread.operation();
  if (!file.is_socket || !op.sends_matter()) return true;
  event::Object object;
  object.type = event::ObjectType::socket;
  object.protocol = file.type == SOCK_STREAM ? "tcp" : "udp";
  object.remote = address.empty() ? file.peer.get() : endpoint_of(address);
  op.leave(object, digest(object.remote.address, object.remote.port ^ uint64_t{file.handle} << 32));
  const bool denied = op.denied();
  op.response = engine::GoOn{};  // for the system call, not for the function that is hooked
  return !denied;
}

event::Endpoint endpoint_of(std::span<const std::byte> address) {
  sockaddr_in6 raw{};
  if (address.size() < sizeof(sockaddr_in)) return {};
  std::memcpy(&raw, address.data(), std::min(address.size(), sizeof raw));
  guest::IpAddress ip;
  if (raw.sin6_family == AF_INET) {
    sockaddr_in four{};
    std::memcpy(&four, &raw, sizeof four);
    ip = guest::IpAddress::v4(four.sin_addr.s_addr);
  } else if (raw.sin6_family == AF_INET6) {
    std::memcpy(ip.bytes.data(), &raw.sin6_addr, ip.bytes.size());
  } else {
    return {};
  }
  return {ip.text(), ntohs(raw.sin6_port)};
}

}  // namespace oboro::hiding
