// A denying run that has lost track of labels: from then on nothing leaves the guest, whoever sends it.

#include "event/detail.h"
#include "hooks/hook_test.h"

namespace oboro::hooks {
namespace {

using guest::Family;
using guest::SocketType;

constexpr size_t kRoom = 64;  // slots in a label table for 32 carriers; it takes fewer

class RefusedSends : public HookTest {
 protected:
  RefusedSends() : HookTest(kRoom / 2) { policy.leak = policy::Verdict::deny; }

  Answer send(Gva task, Gva sock, Gva message = Gva()) {
    guest.set_system_call(task, sys::sendto);
    if (!message) message = guest.allocate();
    return call(Symbol::fn_socket_sendmsg, task, {guest.socket(sock).value, message.value, 5});
  }
  Answer send_to(Gva task, const char* address, uint16_t port = 9) {
    return send(task, guest.udp(endpoint("0.0.0.0", 50000)), guest.message_to(endpoint(address, port)));
  }
  Gva remote(uint16_t port = 40000) { return guest.tcp(endpoint("10.0.2.15", port), endpoint("192.0.2.1", 443)); }
  // The writer is managed. It writes new files until there is no room for another file's labels.
  void fill() {
    label(writer);
    for (uint64_t i = 0; i < kRoom && reporter.gaps.empty(); ++i)
      write(writer, guest.open(guest.make_file(disk, "f" + std::to_string(i), 1000 + i)));
    reporter.events.clear();
    EXPECT_EQ(gaps(), Told{kFull});
  }
  static constexpr char kFull[] = "the table of managed objects is full";
};

TEST_F(RefusedSends, AChildThatCouldNotBeLabelledSendsNothing) {
  fill();
  const Gva child = guest.task(300, "child");
  call(Symbol::fn_wake_up_new_task, writer, {child.value});
  ASSERT_EQ(labels(child), 0u) << "there is no room";
  reporter.events.clear();
  gaps();
  const Gva sock = remote();
  for (int i = 0; i < 2; ++i) {
    const Answer verdict = send(child, sock);
    EXPECT_TRUE(verdict.deny);
    EXPECT_EQ(verdict.result, -1);
  }
  ASSERT_EQ(reporter.events.size(), 1u) << "told once for a socket and where it leads to";
  EXPECT_EQ(reporter.events[0].verdict, event::Verdict::deny);
  EXPECT_EQ(event::detail(reporter.events[0]), std::string("refused because the result is incomplete: ") + kFull);
  EXPECT_EQ(reporter.events[0].subject.pid, 300u);
  EXPECT_EQ(told(), Told{"refused tcp 10.0.2.15:40000-192.0.2.1:443"});
}

TEST_F(RefusedSends, NobodySendsToTheOutside) {
  EXPECT_FALSE(send(reader, remote()).deny);
  EXPECT_FALSE(send_to(reader, "192.0.2.1").deny);
  EXPECT_FALSE(send(reader, guest.sock(Family::packet, SocketType::raw)).deny);
  const unsigned before = stopped;
  EXPECT_EQ(before, 0u) << "it was of no interest";
  fill();
  EXPECT_TRUE(send(reader, remote(40001)).deny);
  EXPECT_TRUE(send_to(reader, "192.0.2.1").deny);
  EXPECT_TRUE(send_to(reader, "224.0.0.251").deny);
  EXPECT_TRUE(
      send(reader, guest.sock(Family::inet, SocketType::raw, 1), guest.message_to(endpoint("192.0.2.1", 0))).deny);
  EXPECT_TRUE(send(reader, guest.tcp(endpoint("0.0.0.0", 0), endpoint("0.0.0.0", 0)),
                   guest.message_to(endpoint("192.0.2.1", 443)))
                  .deny)
      << "TCP Fast Open";
  for (const Family family : {Family::packet, Family::vsock, Family::xdp, Family::bluetooth, Family::can, Family(30)})
    EXPECT_TRUE(send(reader, guest.sock(family, SocketType::raw)).deny) << static_cast<int>(family);
  const Told events = told();
  EXPECT_EQ(events.size(), 11u);
  for (const std::string& event : events) EXPECT_EQ(event.substr(0, 8), "refused ");
}

TEST_F(RefusedSends, SpliceAndSendfileToTheOutsideToo) {
  const Gva file = guest.socket_file(guest.socket(remote()), 50), pipe = guest.pipe().second;
  EXPECT_FALSE(call(Symbol::fn_do_splice_direct, reader, {guest.open(plain).value, 0, file.value}).deny);
  EXPECT_FALSE(call(Symbol::fn_do_splice, reader, {pipe.value, 0, file.value}).deny);
  fill();
  EXPECT_TRUE(call(Symbol::fn_do_splice_direct, reader, {guest.open(plain).value, 0, file.value}).deny);
  EXPECT_TRUE(call(Symbol::fn_do_splice, reader, {pipe.value, 0, file.value}).deny);
  EXPECT_FALSE(call(Symbol::fn_do_splice, reader, {pipe.value, 0, guest.open(plain).value}).deny);
  EXPECT_EQ(told(), Told{"refused tcp 10.0.2.15:40000-192.0.2.1:443"});
}

TEST_F(RefusedSends, WhatStaysInsideGoesOn) {
  fill();
  const auto [one, other] = guest.unix_pair(SocketType::stream);
  const Gva bound = guest.udp(endpoint("0.0.0.0", 53));
  EXPECT_FALSE(send(reader, one).deny);
  EXPECT_FALSE(send(reader, guest.tcp(endpoint("127.0.0.1", 40000), endpoint("127.0.0.1", 80))).deny);
  EXPECT_FALSE(send(reader, guest.tcp(endpoint("10.0.2.15", 40000), endpoint("10.0.2.15", 80))).deny);
  EXPECT_FALSE(send_to(reader, "127.0.0.1", 53).deny);
  EXPECT_FALSE(send_to(reader, "10.0.2.15", 53).deny);
  EXPECT_FALSE(
      send(reader, guest.sock(Family::inet, SocketType::raw, 1), guest.message_to(endpoint("127.0.0.1", 0))).deny);
  EXPECT_FALSE(send(reader, guest.sock(Family::netlink, SocketType::raw)).deny);
  EXPECT_FALSE(send(reader, guest.sock(Family::alg, SocketType::seqpacket)).deny);
  EXPECT_EQ(labels({CarrierKind::socket, bound.value}), 0u);
  EXPECT_EQ(told(), Told{});
}

TEST_F(RefusedSends, AlertAloneRefusesNothing) {
  policy.leak = policy::Verdict::alert;
  fill();
  EXPECT_FALSE(send(reader, remote()).deny);
  EXPECT_FALSE(send_to(reader, "192.0.2.1").deny);
  EXPECT_EQ(told(), Told{});
  EXPECT_FALSE(send(writer, remote()).deny);
  EXPECT_EQ(told(), Told{"leak 200 > tcp 10.0.2.15:40000-192.0.2.1:443"});
}

TEST_F(RefusedSends, AManagedProcessLeaksAsBefore) {
  fill();
  EXPECT_TRUE(send(writer, remote()).deny);
  EXPECT_EQ(told(), Told{"leak 200 > tcp 10.0.2.15:40000-192.0.2.1:443"});
}

// A new boot begins. The filter knows nothing of it yet, and keeps nothing from before.
TEST_F(RefusedSends, ANewBootDoesNotEndIt) {
  fill();
  {
    const auto lock = state.lock();
    state.set_marks(nullptr);
    state.retain([](Carrier c, labels::Entry) { return c.kind() == CarrierKind::file; });
  }
  begin();
  EXPECT_TRUE(send(reader, remote()).deny);
  EXPECT_EQ(told().size(), 1u);
}

TEST_F(RefusedSends, TheFirstReasonStays) {
  begin();
  reporter.incomplete("one");
  reporter.incomplete("other");
  EXPECT_EQ(gaps().size(), 2u);
  EXPECT_TRUE(send(reader, remote()).deny);
  EXPECT_EQ(event::detail(reporter.events.at(0)), "refused because the result is incomplete: one");
}

// A refusal is enough there: everybody else goes on sending.
TEST_F(RefusedSends, WhatCannotBeTracedIsRefusedToWhoIsManagedAndToNobodyElse) {
  label(writer);
  const Gva raw = guest.sock(Family::inet, SocketType::raw, 1),
            unconnected = guest.tcp(endpoint("0.0.0.0", 0), endpoint("0.0.0.0", 0));
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(send(writer, raw, guest.message_to(endpoint("127.0.0.1", 0))).deny);
    EXPECT_TRUE(send(writer, unconnected, guest.message_to(endpoint("127.0.0.1", 80))).deny) << "TCP Fast Open";
  }
  EXPECT_TRUE(send(writer, guest.sock(Family::alg, SocketType::seqpacket)).deny);
  EXPECT_TRUE(send(writer, guest.sock(Family(30), SocketType::seqpacket)).deny);
  EXPECT_EQ(reporter.events.size(), 4u) << "each once";
  for (const event::Event& event : reporter.events) {
    EXPECT_EQ(event.kind, Kind::refused);
    EXPECT_EQ(event.labels, kSecret);
    EXPECT_EQ(event::detail(event), "refused because it could not be traced");
  }
  EXPECT_EQ(gaps(), Told{}) << "nothing went anywhere";
  EXPECT_FALSE(send(reader, raw, guest.message_to(endpoint("127.0.0.1", 0))).deny);
  EXPECT_FALSE(send(reader, remote()).deny);
}

}  // namespace
}  // namespace oboro::hooks
