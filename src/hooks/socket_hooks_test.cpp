
#include "hooks/hook_test.h"

namespace oboro::hooks {
namespace {

using guest::Family;
using guest::SocketType;

class SocketHooks : public HookTest {
 protected:
  Answer send(Gva task, Gva sock, Gva message = Gva()) {
    guest.set_system_call(task, sys::sendto);
    if (!message) message = guest.allocate();
    return call(Symbol::fn_socket_sendmsg, task, {guest.socket(sock).value, message.value, 5});
  }
  void receive(Gva task, Gva sock) {
    guest.set_system_call(task, sys::recvfrom);
    call(Symbol::fn_socket_recvmsg, task, {guest.socket(sock).value, 0, 5, 0});
    guest.set_system_call(task, sys::getpid);  // and it has returned
  }
  void close(Gva task, Gva sock, Symbol function = Symbol::fn_inet_release) {
    call(function, task, {guest.socket(sock).value});
  }
  Carrier socket(Gva sock) { return {CarrierKind::socket, sock.value}; }
};

TEST_F(SocketHooks, UnixStream) {
  const auto [one, other] = guest.unix_pair(SocketType::stream);
  guest.bind_unix(other, "/run/x.sock");
  send(writer, one);
  receive(reader, other);
  EXPECT_EQ(told(), Told{});
  label(writer);
  send(writer, one);
  EXPECT_EQ(labels(socket(other)), kSecret);
  EXPECT_EQ(labels(socket(one)), 0u);
  receive(reader, other);
  EXPECT_EQ(labels(reader), kSecret);
  EXPECT_EQ(told(),
            (Told{"diffusion 200 > unix-stream /run/x.sock:0-:0", "diffusion unix-stream /run/x.sock:0-:0 > 100"}));
  close(reader, other, Symbol::fn_unix_release);
  EXPECT_EQ(labels(socket(other)), 0u);
  EXPECT_EQ(told(), Told{"closed unix-stream /run/x.sock:0-:0"});
}

TEST_F(SocketHooks, UnixWithABlockedReceiver) {
  const auto [one, other] = guest.unix_pair(SocketType::seqpacket);
  receive(reader, other);
  guest.set_system_call(reader, sys::recvmsg);
  label(writer);
  send(writer, one);
  EXPECT_EQ(labels(reader), kSecret);
}

TEST_F(SocketHooks, UnixStreamWithoutPeer) {
  label(writer);
  send(writer, guest.sock(Family::local, SocketType::stream));
  EXPECT_EQ(told(), Told{});
}

TEST_F(SocketHooks, UnixDatagramsGoToWhomTheyAreAddressed) {
  const Gva from = guest.sock(Family::local, SocketType::datagram),
            to = guest.sock(Family::local, SocketType::datagram);
  const Gva from_socket = guest.socket(from), to_socket = guest.socket(to);
  guest.set_system_call(writer, sys::sendto);
  call(Symbol::fn_unix_may_send, writer, {from_socket.value, to_socket.value});
  EXPECT_EQ(told(), Told{});
  label(writer);
  send(writer, from);
  EXPECT_EQ(told(), Told{}) << "the other hook knows the receiver";
  guest.set_system_call(writer, sys::connect);
  call(Symbol::fn_unix_may_send, writer, {from_socket.value, to_socket.value});
  EXPECT_EQ(told(), Told{}) << "connect() sends nothing";
  guest.set_system_call(writer, sys::sendto);
  call(Symbol::fn_unix_may_send, writer, {from_socket.value, to_socket.value});
  EXPECT_EQ(labels(socket(to)), kSecret);
  receive(reader, to);
  EXPECT_EQ(labels(reader), kSecret);
  told();
  call(Symbol::fn_sk_free, reader, {to.value});
  EXPECT_EQ(told(), Told{"closed unix-dgram :0-:0"});
}

class TcpHooks : public SocketHooks {
 protected:
  void connect(const char* client_address, const char* server_address) {
    client = guest.tcp(endpoint(client_address, 40000), endpoint(server_address, 80));
    server = guest.tcp(endpoint(server_address, 80), endpoint(client_address, 40000));
    call(Symbol::fn_inet_conn_established, writer, {client.value});
  }
  Gva client, server;
};

TEST_F(TcpHooks, BothDirectionsAreApart) {
  connect("127.0.0.1", "127.0.0.1");
  label(writer);
  EXPECT_FALSE(send(writer, client).deny);
  receive(writer, client);
  const Gva bystander = guest.task(300, "bystander");
  receive(bystander, client);  // the other direction
  EXPECT_EQ(labels(bystander), 0u);
  receive(reader, server);
  EXPECT_EQ(labels(reader), kSecret);
  EXPECT_EQ(told(), (Told{"diffusion 200 > tcp 127.0.0.1:80-127.0.0.1:40000",
                          "diffusion tcp 127.0.0.1:80-127.0.0.1:40000 > 100"}));
  send(reader, server);
  EXPECT_EQ(told(), Told{"diffusion 100 > tcp 127.0.0.1:40000-127.0.0.1:80"});
  receive(bystander, client);
  EXPECT_EQ(labels(bystander), kSecret);
}

TEST_F(TcpHooks, BlockedReceiver) {
  connect("10.0.2.15", "10.0.2.15");
  receive(reader, server);
  guest.set_system_call(reader, sys::read);
  label(writer);
  send(writer, client);
  EXPECT_EQ(labels(reader), kSecret);
}

TEST_F(TcpHooks, Ipv6) {
  connect("fec0::15", "fec0::15");
  label(writer);
  send(writer, client);
  receive(reader, server);
  EXPECT_EQ(labels(reader), kSecret);
}

TEST_F(TcpHooks, MappedV4OnOneEnd) {
  connect("127.0.0.1", "127.0.0.1");
  // An IPv6 listener's connection: AF_INET6 with mapped addresses.
  guest.set(server, Field::sock_family, static_cast<uint16_t>(Family::inet6));
  guest.write(server + guest.profile[Field::sock_v6_rcv_saddr], address("127.0.0.1").bytes);
  guest.write(server + guest.profile[Field::sock_v6_daddr], address("127.0.0.1").bytes);
  label(writer);
  send(writer, client);
  receive(reader, server);
  EXPECT_EQ(labels(reader), kSecret);
}

TEST_F(TcpHooks, LoopbackIsPrivateToItsNamespaceOthersAreNot) {
  connect("127.0.0.1", "127.0.0.1");
  label(writer);
  guest.set(server, Field::sock_net, guest.allocate());
  send(writer, client);
  receive(reader, server);
  EXPECT_EQ(labels(reader), 0u);
  connect("10.0.2.15", "10.0.2.15");
  guest.set(server, Field::sock_net, guest.allocate());
  send(writer, client);
  receive(reader, server);
  EXPECT_EQ(labels(reader), kSecret);
}

TEST_F(TcpHooks, CloseEndsWhatNobodyCanReceiveAnyMore) {
  connect("127.0.0.1", "127.0.0.1");
  label(writer);
  send(writer, client);
  told();
  close(writer, client);
  receive(reader, server);
  EXPECT_EQ(labels(reader), kSecret) << "sent before the close";
  told();
  close(reader, server);
  EXPECT_EQ(told(), Told{"closed tcp 127.0.0.1:80-127.0.0.1:40000"});
  EXPECT_EQ(state.count(CarrierKind::flow), 0u);
}

TEST_F(TcpHooks, NewConnectionOnTheSamePortsIsClean) {
  connect("127.0.0.1", "127.0.0.1");
  label(writer);
  send(writer, client);
  connect("127.0.0.1", "127.0.0.1");
  const Gva third = guest.task(300, "third");
  receive(third, server);
  EXPECT_EQ(labels(third), 0u);
}

TEST_F(TcpHooks, RemoteIsALeakOncePerDestination) {
  const Gva sock = guest.tcp(endpoint("10.0.2.15", 40000), endpoint("192.0.2.1", 443));
  send(writer, sock);
  EXPECT_EQ(told(), Told{});
  label(writer);
  EXPECT_FALSE(send(writer, sock).deny);
  ASSERT_GE(reporter.events.size(), 1u);
  EXPECT_EQ(reporter.events[0].verdict, event::Verdict::alert);
  EXPECT_EQ(reporter.events[0].labels, kSecret);
  EXPECT_EQ(reporter.events[0].from.id, state.find(process(writer)).id);
  EXPECT_EQ(told()[0], "leak 200 > tcp 10.0.2.15:40000-192.0.2.1:443");
  send(writer, sock);
  EXPECT_EQ(told(), Told{});
  label(writer, kOther);
  send(writer, sock);
  EXPECT_EQ(told()[0], "leak 200 > tcp 10.0.2.15:40000-192.0.2.1:443") << "more labels than before";
  const Gva other = guest.tcp(endpoint("10.0.2.15", 40001), endpoint("192.0.2.1", 443));
  send(writer, other);
  EXPECT_EQ(told()[0], "leak 200 > tcp 10.0.2.15:40001-192.0.2.1:443");
  close(writer, other);
  close(writer, sock);
  EXPECT_EQ(state.count(CarrierKind::flow), 0u);
}

TEST_F(TcpHooks, DenyRefusesEverySendAndLabelsNothing) {
  policy.leak = policy::Verdict::deny;
  const Gva sock = guest.tcp(endpoint("fec0::15", 40000), endpoint("2001:db8::1", 443));
  EXPECT_FALSE(send(writer, sock).deny);
  label(writer);
  for (int i = 0; i < 2; ++i) {
    const Answer verdict = send(writer, sock);
    EXPECT_TRUE(verdict.deny);
    EXPECT_EQ(verdict.result, -1);
  }
  ASSERT_EQ(reporter.events.size(), 1u);
  EXPECT_EQ(reporter.events[0].verdict, event::Verdict::deny);
  EXPECT_EQ(state.count(CarrierKind::flow), 0u);
  connect("127.0.0.1", "127.0.0.1");
  EXPECT_FALSE(send(writer, client).deny);
}

TEST_F(TcpHooks, SpliceAndSendfileToSockets) {
  policy.leak = policy::Verdict::deny;
  const Gva sock = guest.tcp(endpoint("10.0.2.15", 40000), endpoint("192.0.2.1", 443));
  const Gva file = guest.socket_file(guest.socket(sock), 50);
  label_file(secret);
  EXPECT_FALSE(call(Symbol::fn_do_splice_direct, reader, {guest.open(plain).value, 0, file.value}).deny);
  EXPECT_TRUE(call(Symbol::fn_do_splice_direct, reader, {guest.open(secret).value, 0, file.value}).deny);
  EXPECT_EQ(labels(reader), kSecret);
}

TEST_F(TcpHooks, UnconnectedSendsNothing) {
  label(writer);
  send(writer, guest.tcp(endpoint("0.0.0.0", 0), endpoint("0.0.0.0", 0)));
  EXPECT_EQ(told(), Told{});
}

// sendto() with MSG_FASTOPEN: the data goes with the first packet, before the socket knows its peer.
TEST_F(TcpHooks, FastOpen) {
  label(writer);
  const Gva sock = guest.tcp(endpoint("0.0.0.0", 0), endpoint("0.0.0.0", 0));
  send(writer, sock, guest.message_to(endpoint("192.0.2.1", 443)));
  EXPECT_EQ(told(), Told{"leak 200 > tcp 0.0.0.0:0-192.0.2.1:443"});
  EXPECT_EQ(state.count(CarrierKind::flow), 0u);
  send(writer, sock, guest.message_to(endpoint("127.0.0.1", 80)));
  EXPECT_EQ(told(), Told{});
  EXPECT_EQ(gaps().size(), 1u) << "the connection has no ports yet to know it by";
}

class UdpHooks : public SocketHooks {};

TEST_F(UdpHooks, OwnAddressLabelsTheBoundSocket) {
  const Gva bound = guest.udp(endpoint("0.0.0.0", 53)), other = guest.udp(endpoint("0.0.0.0", 54));
  const Gva sock = guest.udp(endpoint("0.0.0.0", 50000));
  send(writer, sock, guest.message_to(endpoint("127.0.0.1", 53)));
  EXPECT_EQ(told(), Told{});
  label(writer);
  send(writer, sock, guest.message_to(endpoint("10.0.2.15", 53)));
  EXPECT_EQ(labels(socket(bound)), kSecret);
  EXPECT_EQ(labels(socket(other)), 0u);
  EXPECT_EQ(labels(socket(sock)), 0u);
  EXPECT_EQ(told(), Told{"diffusion 200 > udp 0.0.0.0:53-:0"});
  receive(reader, bound);
  EXPECT_EQ(labels(reader), kSecret);
  close(reader, bound);
  EXPECT_EQ(labels(socket(bound)), 0u);
}

TEST_F(UdpHooks, ConnectedSocketNeedsNoName) {
  const Gva bound = guest.udp(endpoint("127.0.0.1", 53)), sock = guest.udp(endpoint("127.0.0.1", 50000));
  guest.connect(sock, endpoint("127.0.0.1", 53));
  label(writer);
  receive(reader, bound);
  guest.set_system_call(reader, sys::recvmmsg);
  send(writer, sock);
  EXPECT_EQ(labels(reader), kSecret) << "blocked";
}

TEST_F(UdpHooks, RemoteIsALeakOncePerDestination) {
  const Gva sock = guest.udp(endpoint("0.0.0.0", 50000));
  label(writer);
  for (int i = 0; i < 2; ++i) send(writer, sock, guest.message_to(endpoint("192.0.2.1", 53)));
  EXPECT_EQ(told(), Told{"leak 200 > udp 0.0.0.0:50000-192.0.2.1:53"});
  send(writer, sock, guest.message_to(endpoint("192.0.2.2", 53)));
  EXPECT_EQ(told(), Told{"leak 200 > udp 0.0.0.0:50000-192.0.2.2:53"});
  policy.leak = policy::Verdict::deny;
  environment.reset();
  EXPECT_TRUE(send(writer, sock, guest.message_to(endpoint("192.0.2.3", 53))).deny);
  EXPECT_EQ(told(), Told{"leak 200 > udp 0.0.0.0:50000-192.0.2.3:53"});
}

TEST_F(UdpHooks, MulticastIsALeakAndReachesLocalSockets) {
  const Gva bound = guest.udp(endpoint("0.0.0.0", 5353)), sock = guest.udp(endpoint("0.0.0.0", 50000));
  label(writer);
  send(writer, sock, guest.message_to(endpoint("224.0.0.251", 5353)));
  EXPECT_EQ(told().size(), 2u);
  EXPECT_EQ(labels(socket(bound)), kSecret);
}

TEST_F(UdpHooks, TableThatCannotBeReadIsAGap) {
  const Gva bound = guest.udp(endpoint("0.0.0.0", 53)), sock = guest.udp(endpoint("0.0.0.0", 50000));
  guest.set(bound, Field::sock_node_next, bound + guest.profile[Field::sock_node_next]);
  label(writer);
  send(writer, sock, guest.message_to(endpoint("127.0.0.1", 53)));
  EXPECT_FALSE(gaps().empty());
}

TEST_F(SocketHooks, OtherFamilies) {
  label(writer);
  send(writer, guest.sock(Family::netlink, SocketType::raw));
  EXPECT_EQ(told(), Told{});
  send(writer, guest.sock(Family::packet, SocketType::raw));
  send(writer, guest.sock(Family::vsock, SocketType::stream));
  const Told leaks = told();
  ASSERT_EQ(leaks.size(), 2u);
  EXPECT_EQ(leaks[0].substr(0, 17), "leak 200 > packet");
  send(writer, guest.sock(Family::alg, SocketType::seqpacket));
  EXPECT_EQ(gaps().size(), 1u);
}

TEST_F(SocketHooks, RawIp) {
  const Gva sock = guest.sock(Family::inet, SocketType::raw, 1);
  label(writer);
  send(writer, sock, guest.message_to(endpoint("192.0.2.1", 0)));
  EXPECT_EQ(told().size(), 1u);
  send(writer, sock, guest.message_to(endpoint("127.0.0.1", 0)));
  EXPECT_EQ(gaps().size(), 1u);
}

TEST_F(SocketHooks, ReadAndWriteOnSocketsBelongToTheSocketHooks) {
  const auto [one, other] = guest.unix_pair(SocketType::stream);
  const Gva file = guest.socket_file(guest.socket(one), 50);
  label(writer);
  write(writer, file);
  EXPECT_EQ(told(), Told{});
}

// The kernel asks about a message's receiver when it hands the message over, in the receiver's call or in the sender's.
TEST_F(SocketHooks, SysVMessageQueue) {
  const Gva queue = guest.allocate(), message = guest.allocate();
  const Carrier carrier(CarrierKind::queue, queue.value);
  call(Symbol::fn_msg_queue_msgsnd, writer, {queue.value, message.value});
  call(Symbol::fn_msg_queue_msgrcv, reader, {queue.value, message.value, reader.value});
  EXPECT_EQ(told(), Told{});
  label(writer);
  call(Symbol::fn_msg_queue_msgsnd, writer, {queue.value, message.value});
  EXPECT_EQ(labels(carrier), kSecret);
  EXPECT_EQ(labels(reader), 0u);
  call(Symbol::fn_msg_queue_msgrcv, writer, {queue.value, message.value, reader.value});
  EXPECT_EQ(labels(reader), kSecret) << "it waited";
  const Gva third = guest.task(300, "third");
  call(Symbol::fn_msg_queue_msgrcv, third, {queue.value, message.value, third.value});
  EXPECT_EQ(labels(third), kSecret);
  EXPECT_EQ(told().size(), 3u);
  call(Symbol::fn_msg_queue_free, third, {queue.value});
  EXPECT_EQ(told(), Told{"closed queue"});
  EXPECT_EQ(labels(carrier), 0u);
}

TEST_F(UdpHooks, AddressOfAnotherNamespaceIsInsideTheGuest) {
  const Gva container = guest.add_namespace();
  guest.device({address("172.17.0.2")}, container);
  const Gva bound = guest.udp(endpoint("0.0.0.0", 53)), sock = guest.udp(endpoint("0.0.0.0", 50000));
  const Gva here = guest.udp(endpoint("0.0.0.0", 53));
  guest.move_to_namespace(bound, container);
  label(writer);
  send(writer, sock, guest.message_to(endpoint("172.17.0.2", 53)));
  EXPECT_EQ(labels(socket(bound)), kSecret);
  EXPECT_EQ(labels(socket(here)), 0u);
  EXPECT_EQ(told().size(), 1u) << "no leak";
  send(writer, sock, guest.message_to(endpoint("172.17.0.3", 53)));
  EXPECT_EQ(told().at(0).substr(0, 4), "leak");
}

// When the connection is over, the kernel gives the port back: sk_num is zero at the release.
TEST_F(SocketHooks, ConnectionWithoutALocalPortEndsAllTheSame) {
  const auto here = endpoint("127.0.0.1", 5001), there = endpoint("127.0.0.1", 40000);
  const Gva server = guest.tcp(here, there), client = guest.tcp(there, here);
  const Gva served = guest.socket(server);
  label(writer);
  call(Symbol::fn_socket_sendmsg, writer, {guest.socket(client).value, 0, 1});
  EXPECT_EQ(told().size(), 1u);
  guest.set(server, Field::sock_num, uint16_t{0});
  call(Symbol::fn_inet_release, reader, {served.value});
  EXPECT_EQ(told(), Told{"closed tcp 127.0.0.1:5001-127.0.0.1:40000"});
}

}  // namespace
}  // namespace oboro::hooks
