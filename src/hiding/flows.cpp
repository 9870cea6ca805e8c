// What classified data does between a hidden service and what is outside: as in the guest, files bear labels, and what
// goes to another machine is a leak.

#include <cstring>
#include <fmt/format.h>
#include <netinet/in.h>

#include "guest/socket.h"
#include "hiding/calls.h"

namespace oboro::hiding {
namespace {

using diffusion::Carrier;
using diffusion::CarrierKind;

uint64_t digest(std::string_view text, uint64_t seed) {
  for (const char c : text) seed = (seed ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return seed;
}

// fn(node) with the hidden file as something that bears labels.
template <typename Fn>
void with_node(Thread& thread, const OpenFile& file, Fn fn) {
  event::Object object;
  object.type = event::ObjectType::file;
  object.path = file.path;
  object.fs = "hidden:" + thread.service().name;
  object.fs_type = "hidden";
  hooks::Node node;
  node.carrier = Carrier(CarrierKind::file, digest(file.path, digest(thread.service().name, 0xcbf29ce484222325)));
  node.outside = &object;
  fn(node);
}

}  // namespace

void give_labels(Thread& thread, const OpenFile& file) {
  hooks::Operation& op = thread.operation();
  if (file.is_socket || !op.labels()) return;
  with_node(thread, file, [&](const hooks::Node& node) { op.give(node); });
}

void take_labels(Thread& thread, const OpenFile& file) {
  hooks::Operation& op = thread.operation();
  if (file.is_socket || !op.env.state.any_file()) return;
  with_node(thread, file, [&](const hooks::Node& node) { op.take(node); });
}

bool may_send(Thread& thread, const OpenFile& file, std::span<const std::byte> address) {
  hooks::Operation& op = thread.operation();
  if (!file.is_socket || !op.labels()) return true;
  event::Object object;
  object.type = event::ObjectType::socket;
  object.protocol = file.type == SOCK_STREAM ? "tcp" : "udp";
  object.remote = address.empty() ? file.peer.get() : endpoint_of(address);
  op.leak(object, digest(object.remote.address, object.remote.port ^ uint64_t{file.handle} << 32));
  return !std::exchange(op.verdict.deny, false);
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
