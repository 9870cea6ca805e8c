// Sockets and SysV message queues. A send inside the guest labels the receiving end; any other send may be a leak.

#include "hooks/table.h"

namespace oboro::hooks {

using guest::Family;
using guest::IpEndpoint;
using guest::Sock;
using guest::SocketType;
using labels::Carrier;
using labels::CarrierKind;

namespace {

constexpr char kOtherFamily[] = "classified data was sent on a socket of a family that is not traced";

// One direction of a TCP connection. Both ends compute the same carrier from their own addresses, so the receiving end
// need not be searched for. Loopback addresses are private to a network namespace, so the namespace is a part of their
// carrier. Other addresses reach from one namespace to another.
Carrier flow_carrier(const IpEndpoint& from, const IpEndpoint& to, Gva net) {
  uint64_t words[4];
  std::memcpy(words, from.address.bytes.data(), 16);
  std::memcpy(words + 2, to.address.bytes.data(), 16);
  uint64_t hash = to.address.is_loopback() ? net.value : 0;
  for (const uint64_t word : words) {
    hash = (hash ^ word) * 0xff51afd7ed558ccd;
    hash ^= hash >> 29;
  }
  return {CarrierKind::flow, hash << 32 | uint64_t{from.port} << 16 | to.port};
}

// The direction that leads to this end.
Carrier incoming_carrier(Operation& op, Sock sock) {
  return flow_carrier(sock.remote(op.r), sock.local(op.r), sock.net(op.r));
}
Node incoming_flow(Operation& op, Sock sock) { return {incoming_carrier(op, sock), ConnectionNode{sock, true}}; }

Node outgoing_flow(Operation& op, Sock sock) {
  return {flow_carrier(sock.local(op.r), sock.remote(op.r), sock.net(op.r)), ConnectionNode{sock, false}};
}

void send_datagram(Operation& op, Sock sock, const IpEndpoint& to) {
  const bool multicast = to.address.is_multicast();
  const Gva net = multicast ? sock.net(op.r) : guest::namespace_of_address(op.r, sock.net(op.r), to.address);
  if (multicast || !net) op.leave(sock, to);
  if (op.denied() || !net || !op.labels()) return;
  std::vector<Sock> receivers;
  if (!guest::udp_receivers(op.r, net, to, receivers))
    op.env.reporter.incomplete("the table of UDP sockets could not be read to its end");
  std::vector<Node> nodes;
  for (const Sock receiver : receivers)
    if (multicast || receiver.at != sock.at || receiver.local(op.r).port == to.port)
      nodes.push_back(socket_node(receiver));
  op.give(nodes);
}

}  // namespace

void send_on_socket(Operation& op, Sock sock, Gva msghdr) {
  // A send by an unmanaged process matters only if it would leave the guest, and only once sends are refused.
  if (!op.sends_matter() || !sock.at) return;
  const Family family = sock.family(op.r);
  switch (family) {
    case Family::local:
      // Datagrams pass security_unix_may_send, which knows the receiver even if it is addressed by name. (The KVM
      // engine's filter relies on that: Interest::sending.)
      if (sock.type(op.r) != SocketType::datagram) {
        const Sock peer = sock.unix_peer(op.r);
        if (peer.at) op.give(socket_node(peer));
      }
      return;
    case Family::inet:
    case Family::inet6: {
      IpEndpoint to;
      if (!msghdr || sock.is_tcp(op.r) || !guest::message_destination(op.r, msghdr, to)) to = sock.remote(op.r);
      if (sock.is_tcp(op.r)) {
        const bool fast_open = to.port == 0;
        if (fast_open) {
          // The socket is not connected: the call fails, unless MSG_FASTOPEN lets the data go with the first packet.
          if (!msghdr || !guest::message_destination(op.r, msghdr, to)) return;
        }
        if (!guest::namespace_of_address(op.r, sock.net(op.r), to.address))
          op.leave(sock, to);
        else if (fast_open)
          op.send_untraced(sock, to, "classified data was sent inside the guest by TCP Fast Open");
        else
          op.give(outgoing_flow(op, sock));
        return;
      }
      if (sock.is_udp(op.r)) {
        if (to.port != 0) send_datagram(op, sock, to);
        return;
      }
      if (!guest::namespace_of_address(op.r, sock.net(op.r), to.address))
        op.leave(sock, to);
      else
        op.send_untraced(sock, to, "classified data was sent inside the guest over a protocol that is not traced");
      return;
    }
    case Family::netlink:
      return;  // to the kernel; between processes only by agreement of privileged ones
    case Family::packet:
    case Family::vsock:
    case Family::xdp:
    case Family::bluetooth:
    case Family::can:
      op.leave(sock, {});
      return;  // past the IP stack: the destination cannot be told
    default:
      if (op.labels())
        op.send_untraced(sock, {}, kOtherFamily);
      else if (family != Family::alg)  // ciphers: they are in the guest's kernel
        op.leave(sock, {});
      return;
  }
}

Carrier receiving_carrier(Operation& op, guest::Sock sock) {
  return sock.is_tcp(op.r) ? incoming_carrier(op, sock) : Carrier(CarrierKind::socket, sock.at.value);
}

void receive_from_socket(Operation& op, Sock sock) {
  if (!sock.at) return;
  const Carrier carrier = receiving_carrier(op, sock);
  op.remember_receiver(carrier);
  if (!op.env.carriers.labels(carrier)) return;
  op.take(carrier.kind() == CarrierKind::flow ? Node{carrier, ConnectionNode{sock, true}} : socket_node(sock));
}

void on_socket_sendmsg(Operation& op) {
  if (!op.sends_matter()) return;
  send_on_socket(op, guest::sock_of(op.r, op.pointer(0)), op.pointer(1));
}

void on_socket_recvmsg(Operation& op) { receive_from_socket(op, guest::sock_of(op.r, op.pointer(0))); }

void on_unix_may_send(Operation& op) {
  const uint64_t labels = op.labels();
  const Gva other = op.pointer(1);
  if (!labels || !other) return;
  const Node receiver = socket_node(guest::sock_of(op.r, other));
  // connect() asks, too, and sends nothing. This is looked at last: it costs more than all before.
  if ((labels & ~op.env.carriers.labels(receiver.carrier)) != 0 && op.system_call() != arch::sys::connect)
    op.give(receiver);
}

// A new connection bears no labels, whatever an earlier one between the same ports bore. This runs at the connecting
// end, before either end can have sent.
void on_inet_conn_established(Operation& op) {
  const Sock sock{op.pointer(0)};
  if (!op.env.carriers.count(CarrierKind::flow) || !sock.is_tcp(op.r)) return;
  op.end(incoming_flow(op, sock));
  op.end(outgoing_flow(op, sock));
}

void on_socket_release(Operation& op) {
  const Sock sock = guest::sock_of(op.r, op.pointer(0));
  if (!sock.at) return;
  op.end(socket_node(sock));
  if (!op.env.carriers.count(CarrierKind::flow) || !sock.is_tcp(op.r)) return;
  op.end(incoming_flow(op, sock));
}

void on_sk_free(Operation& op) { op.end(socket_node(Sock{op.pointer(0)})); }

void on_msg_queue_msgsnd(Operation& op) { op.give(queue_node(op.pointer(0))); }

// The receiver is the third argument: the sender's call hands a message to a task that waits already.
void on_msg_queue_msgrcv(Operation& op) {
  const Node queue = queue_node(op.pointer(0));
  const uint64_t labels = op.env.carriers.labels(queue.carrier);
  const Node receiver = process_node(op.r, guest::Task{op.pointer(2)});
  if (labels & ~op.env.carriers.labels(receiver.carrier)) op.flow(queue, receiver);
}

void on_msg_queue_free(Operation& op) { op.end(queue_node(op.pointer(0))); }

}  // namespace oboro::hooks
