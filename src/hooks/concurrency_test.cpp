// Handlers on several vCPUs at once, for ThreadSanitizer and for what must hold whatever the order.

#include <array>
#include <atomic>
#include <mutex>
#include <random>
#include <thread>

#include "hooks/hook_test.h"

namespace oboro::hooks {
namespace {

class LockedReporter final : public Reporter {
 public:
  void report(event::Event&) override { ++events; }
  void incomplete(const char* what) override {
    const std::lock_guard lock(mutex);
    gaps.emplace_back(what);
  }
  void kernel_replaced() override {}

  uint64_t events = 0;  // under the state's lock; the sanitizer sees it if not
  std::mutex mutex;
  std::vector<std::string> gaps;
};

constexpr unsigned kThreads = 4;

TEST(Concurrency, HandlersOnFourVcpus) {
  fake::FakeGuest guest;
  const auto disk = guest.file_system(0xef53, "ext4", 0x800001, 0x10);
  guest.mount(disk, Gva(), Gva());
  guest.device({address("127.0.0.1"), address("10.0.2.15")});
  std::array<Gva, kThreads> tasks;
  std::vector<uint64_t> objects;
  const auto pair = guest.pipe();
  const Gva pipe = pair.first;  // not a structured binding: lambdas cannot capture those with every compiler here
  const Gva pipe_file = pair.second;
  for (uint32_t i = 0; i < kThreads; ++i) {
    tasks[i] = guest.task(100 + i, "task");
    guest.set_system_call(tasks[i], sys::read);
    objects.push_back(tasks[i].value);
  }
  std::vector<uint64_t> sockets, files{pipe_file.value};
  for (uint16_t i = 0; i < 8; ++i) {
    const Gva file = guest.make_file(disk, "f" + std::to_string(i), 20 + i);
    files.push_back(guest.open(file).value);
    const Gva task = tasks[i % kThreads];
    const Gva vma = guest.vma(guest.mm(task), Gva(files.back()), guest::kVmShared | guest::kVmWrite);
    if (i < kThreads) guest.set_vmas(guest.mm(task), {vma});
    guest.set_mappers(guest.inode_of(file), {vma});
    objects.insert(objects.end(), {guest.inode_of(file).value, file.value});
    const auto [one, other] = guest.unix_pair(guest::SocketType::stream);
    sockets.insert(sockets.end(), {guest.socket(one).value, guest.socket(other).value});
    sockets.push_back(guest.socket(guest.udp(endpoint("127.0.0.1", i))).value);
    sockets.push_back(guest.socket(guest.tcp(endpoint("127.0.0.1", i), endpoint("127.0.0.1", 1))).value);
  }
  const Gva message = guest.message_to(endpoint("127.0.0.1", 3));

  labels::Carriers state(4096, 1);
  labels::PatternSet patterns;
  auto pattern = labels::Pattern::parse("/f0");
  ASSERT_TRUE(pattern && patterns.add(std::move(*pattern), kSecret));
  LockedReporter reporter;
  Environment environment(guest.kernel(), state, patterns, {}, reporter);
  std::vector<std::thread> threads;
  for (unsigned index = 0; index < kThreads; ++index) {
    threads.emplace_back([&, index] {
      fake::FakeVcpu vcpu(index);
      std::minstd_rand random(index + 1);
      const auto pick = [&](const std::vector<uint64_t>& from) { return from[random() % from.size()]; };
      for (int i = 0; i < 4000; ++i) {
        const HookPoint& point = hook_points()[random() % hook_points().size()];
        {
          // Per-CPU memory, in which the running task is, is this thread's own.
          guest.run(vcpu, tasks[index]);
        }
        switch (point.function) {
          case Symbol::fn_file_permission:
            vcpu.set_arguments({pick(files), random() % 8});
            break;
          case Symbol::fn_do_splice:
          case Symbol::fn_do_splice_direct:
            vcpu.set_arguments({pick(files), 0, pick(files)});
            break;
          case Symbol::fn_do_tee:
            vcpu.set_arguments({pick(files), pick(files)});
            break;
          case Symbol::fn_file_open:
          case Symbol::fn_mmap_file:
            vcpu.set_arguments({pick(files), 3, 1});
            break;
          case Symbol::fn_splice_file_to_pipe:
            vcpu.set_arguments({pick(files), pipe.value});
            break;
          case Symbol::fn_free_pipe_info:
            vcpu.set_arguments({pipe.value});
            break;
          case Symbol::fn_socket_sendmsg:
          case Symbol::fn_socket_recvmsg:
          case Symbol::fn_unix_may_send:
          case Symbol::fn_inet_release:
          case Symbol::fn_unix_release:
            vcpu.set_arguments({pick(sockets), random() % 2 ? message.value : pick(sockets)});
            break;
          default:
            vcpu.set_arguments({pick(objects), 2, pick(objects)});
            break;
        }
        Operation operation(environment, vcpu);
        dispatch(point, operation);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(reporter.events, 0u);
}

// A note and a label cross: either the reader sees the label, or the writer sees the note. The labels come off again
// for another round.
TEST(Concurrency, NoBlockedReaderIsMissed) {
  fake::FakeGuest guest;
  const auto [pipe, file] = guest.pipe();
  const Carrier carrier(CarrierKind::pipe, pipe.value);
  const Gva reader = guest.task(100, "reader"), writer = guest.task(200, "writer");
  guest.set_system_call(reader, sys::read);
  const Carrier reading(CarrierKind::process, 100);
  labels::Carriers state(4096, 1);
  labels::PatternSet patterns;
  LockedReporter reporter;
  Environment environment(guest.kernel(), state, patterns, {}, reporter);
  (void)state.add(kSecret, Carrier(CarrierKind::process, 200));
  const HookPoint* permission = nullptr;
  for (const HookPoint& point : hook_points())
    if (point.function == Symbol::fn_file_permission) permission = &point;
  fake::FakeVcpu reader_cpu(0), writer_cpu(1);
  guest.run(reader_cpu, reader);
  guest.run(writer_cpu, writer);
  reader_cpu.set_arguments({file.value, kMayRead});
  writer_cpu.set_arguments({file.value, kMayWrite});
  for (int i = 0; i < 2000; ++i) {
    std::atomic<int> ready{0};
    const auto run = [&](fake::FakeVcpu& vcpu) {
      ++ready;
      while (ready < 2) std::this_thread::yield();
      Operation operation(environment, vcpu);
      dispatch(*permission, operation);
    };
    std::thread other([&] { run(reader_cpu); });
    run(writer_cpu);
    other.join();
    ASSERT_EQ(state.labels(reading), kSecret) << "round " << i;
    const auto lock = state.lock();
    state.erase(reading);
    state.erase(carrier);
  }
}

// Notes that fall into the same set at the same time must all be kept, or refused.
TEST(Concurrency, NotesDoNotOverwriteEachOther) {
  for (int round = 0; round < 300; ++round) {
    labels::Receivers receivers;
    const Carrier carrier(CarrierKind::pipe, 0x1000);
    std::atomic<unsigned> ready{0};
    std::vector<std::thread> threads;
    for (uint64_t index = 0; index < kThreads; ++index) {
      threads.emplace_back([&, index] {
        ++ready;
        while (ready < kThreads) std::this_thread::yield();
        for (uint64_t task = 1; task <= 2; ++task)
          EXPECT_TRUE(receivers.remember(carrier, 64 * (index * 2 + task), [](uint64_t) { return true; }));
      });
    }
    for (std::thread& thread : threads) thread.join();
    std::vector<uint64_t> seen;
    receivers.for_each(carrier, [&](uint64_t task) { seen.push_back(task); });
    ASSERT_EQ(seen.size(), 2 * kThreads) << "round " << round;
  }
}

}  // namespace
}  // namespace oboro::hooks
