#include "hooks/node.h"

namespace oboro::hooks {
namespace {

policy::Channel channel_of(labels::CarrierKind kind) {
  using labels::CarrierKind;
  using policy::Channel;
  switch (kind) {
    case CarrierKind::inode:
    case CarrierKind::file:
      return Channel::file;
    case CarrierKind::pipe:
      return Channel::pipe;
    case CarrierKind::socket:
      return Channel::socket;
    case CarrierKind::flow:
      return Channel::connection;
    case CarrierKind::terminal:
      return Channel::terminal;
    case CarrierKind::queue:
      return Channel::queue;
    case CarrierKind::process:
    case CarrierKind::none:
      break;
  }
  return Channel::memory;
}

}  // namespace

policy::Channel channel_between(const Node& from, const Node& to) {
  return channel_of(from.carrier.kind() == labels::CarrierKind::process ? to.carrier.kind() : from.carrier.kind());
}

}  // namespace oboro::hooks
