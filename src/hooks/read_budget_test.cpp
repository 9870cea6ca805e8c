// How much of the guest's memory one call can have the tracer read, where calls are filtered: waiting tasks are looked
// for among all threads then.

#include "hooks/hook_test.h"

namespace oboro::hooks {
namespace {

class ReadBudget : public HookTest {
 protected:
  // A classified datagram to `receivers` sockets that share a port (SO_REUSEPORT).
  void send(uint16_t port, size_t receivers) {
    for (size_t i = 0; i < receivers; ++i) sockets.push_back(guest.udp(endpoint("0.0.0.0", port)));
    label(writer);
    guest.set_system_call(writer, sys::sendto);
    const Gva from = guest.udp(endpoint("127.0.0.1", 40000));
    call(Symbol::fn_socket_sendmsg, writer,
         {guest.socket(from).value, guest.message_to(endpoint("127.0.0.1", port)).value, 5});
  }
  // Threads in a receiving call, that wait for something else.
  void wait(size_t threads) {
    for (size_t i = 0; i < threads; ++i)
      guest.set_system_call(guest.thread(reader, static_cast<uint32_t>(1000 + i)), sys::recvfrom);
  }
  std::vector<Gva> sockets;
};

TEST_F(ReadBudget, ThreadsAreWalkedOnceForOneCall) {
  constexpr uint32_t kThreads = 300;
  send(5000, 64);
  const uint32_t without = reads;
  wait(kThreads);
  send(5001, 64);
  for (const Gva socket : sockets) EXPECT_EQ(labels(Carrier(CarrierKind::socket, socket.value)), kSecret);
  EXPECT_GE(reads, without + kThreads);
  EXPECT_LE(reads, without + 20 * kThreads);
}

TEST_F(ReadBudget, EachOfTheSocketsHasItsOwnReceivers) {
  std::vector<Gva> others;
  for (uint32_t i = 0; i < 5; ++i) {
    others.push_back(guest.task(400 + i, "another"));
    guest.set_system_call(others.back(), sys::recvfrom);
    const Gva socket = guest.socket(guest.udp(endpoint("0.0.0.0", static_cast<uint16_t>(6000 + i))));
    call(Symbol::fn_socket_recvmsg, others.back(), {socket.value, 0, 5, 0});
  }
  std::vector<Gva> tasks;
  for (uint32_t i = 0; i < 3; ++i) {
    sockets.push_back(guest.udp(endpoint("0.0.0.0", 5000)));
    tasks.push_back(guest.task(300 + i, "server"));
    guest.set_system_call(tasks.back(), sys::recvfrom);
    call(Symbol::fn_socket_recvmsg, tasks.back(), {guest.socket(sockets.back()).value, 0, 5, 0});
  }
  send(5000, 0);
  for (const Gva task : tasks) EXPECT_EQ(labels(task), kSecret);
  for (const Gva task : others) EXPECT_EQ(labels(task), 0u);
}

// A hostile guest's list of tasks never comes to its end. Each walk ends at a limit, and all of them together too.
TEST_F(ReadBudget, OneBudgetHoldsForTheWholeCall) {
  wait(1);
  guest.write(reader + guest.profile[Field::task_tasks], reader + guest.profile[Field::task_tasks]);
  send(5000, 3);
  EXPECT_LE(reads, guest::Reader::kMaxReads + 1000);
  const std::vector<std::string> all = gaps();
  EXPECT_NE(std::find(all.begin(), all.end(), "one call made the tracer read more of the guest's memory than it may"),
            all.end());
}

}  // namespace
}  // namespace oboro::hooks
