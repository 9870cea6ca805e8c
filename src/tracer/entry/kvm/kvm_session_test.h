// For tests of the KVM session in this process. Its VMM and its KVM are made up here, and its guest is in memory. A
// vCPU does what the test tells it, one KVM_RUN at a time, and can be held in the middle of a handler.
#pragma once

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <functional>
#include <future>
#include <gtest/gtest.h>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <sys/mman.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include "link/control.h"
#include "stream/ring_reader.h"
#include "tests/support/engine/memory_region.h"
#include "tests/support/guest/fake_guest.h"
#include "tracer/entry/kvm/kvm_session.h"

namespace oboro::tracer {

using engine::kvm::KvmVcpu;
using guest::Field;
using guest::Symbol;
using std::chrono::milliseconds;

struct Cpu {
  KvmVcpu* vcpu = nullptr;
  kvm_sregs sregs{};
  kvm_regs next{};  // the registers with which KVM_RUN returns
  uint32_t exit_reason = 0;
  std::optional<kvm_regs> after;  // the registers with which the guest goes on
  // A handler stays where it asks for the segment registers, as all handlers do at their beginning.
  std::atomic<bool> hold{false}, held{false};
};

inline Cpu cpus[3];
// What this KVM does about a memory slot.
inline std::function<int(const kvm_userspace_memory_region&)> on_region;

inline int fake_ioctl(int fd, unsigned long request, void* argument) {
  Cpu* cpu = nullptr;
  for (Cpu& one : cpus)
    if (one.vcpu && one.vcpu->fd() == fd) cpu = &one;
  if (request == KVM_GET_SREGS && cpu) {
    cpu->held = cpu->hold.load();
    cpu->hold.wait(true);
    cpu->held = false;
    *static_cast<kvm_sregs*>(argument) = cpu->sregs;
    return 0;
  }
  if (request == KVM_SET_USER_MEMORY_REGION && on_region)
    return on_region(*static_cast<const kvm_userspace_memory_region*>(argument));
  if (request == KVM_CHECK_EXTENSION) return 64;
  if (request != KVM_RUN || !cpu) return 0;
  kvm_run& run = cpu->vcpu->run();
  if (cpu->exit_reason == 0) {  // one exit for each run(); at the next entry it is the VMM's turn
    cpu->after = run.s.regs.regs;
    errno = EINTR;
    return -1;
  }
  run.s.regs.regs = cpu->next;
  run.exit_reason = std::exchange(cpu->exit_reason, 0);
  run.io = {};
  run.io.direction = KVM_EXIT_IO_OUT;
  run.io.port = 0xe5;
  run.io.size = 1;
  run.io.count = 1;
  return 0;
}

class KvmSessionTest : public testing::Test {
 protected:
  static constexpr uint64_t kUserCode = 0x33, kKernelCode = 0x10;

  // These outlive their test, because the session's own thread, which is never told to end, may still use them.
  struct World {
    fake::FakeGuest guest{size_t{32} << 20};
    std::unique_ptr<KvmSession> session;
  };

  KvmSessionTest() : world(*new World), guest(world.guest), disk(guest.file_system(0xef53, "ext4", 1, 16)) {
    static auto& kept = *new std::vector<World*>;  // past the program's own end
    kept.push_back(&world);
    mount = guest.mount(disk, Gva(), Gva());
    for (size_t i = 0; i < guest::kSymbolCount; ++i)
      if (const auto symbol = static_cast<Symbol>(i);
          guest::name(symbol).starts_with("fn_") && guest.profile.has(symbol))
        guest.write(guest.symbol(symbol), kNop);
  }
  void SetUp() override {
    link::Start start;
    start.hooks = hooks;
    link::Settings settings;
    settings.policy = policy;
    settings.policy.on(policy::Trouble::supervisor_loss) = on_supervisor_loss;
    if (with_service) settings.services.push_back({"web", "/service", "", false, true, {"/var/secret/**"}});
    start.settings = memfd_create("settings", MFD_CLOEXEC);
    const std::string text = settings.format();
    ASSERT_EQ(write(start.settings, text.data(), text.size()), static_cast<ssize_t>(text.size()));
    char path[] = "/tmp/oboro-kvm-session-test-XXXXXX";
    ASSERT_TRUE(mkdtemp(path));
    const std::string ring = std::string(path) + "/ring";
    ASSERT_TRUE(stream::RingReader::create(ring, 1 << 20));
    auto files = stream::RingWriter::files(ring);
    ASSERT_TRUE(files);
    start.ring = files->ring.release();
    start.ring_read = files->read.release();
    unlink(ring.c_str());
    unlink(stream::read_path(ring).c_str());
    rmdir(path);
    control = pair(start.control);
    commands = pair(start.commands);
    if (with_service) add_proxy(start);
    world.session = std::make_unique<KvmSession>(100, fake_ioctl, start);
    ASSERT_TRUE(session().set_up());
    supervisor = std::thread([this] { supervise(); });
    ASSERT_EQ(set_ram(), 0);
    for (Cpu& cpu : cpus) {
      cpu.sregs = {};
      cpu.sregs.cr0 = 0x80050033;
      cpu.sregs.cr3 = guest.memory.root();
      cpu.sregs.cs.selector = kKernelCode;
      const int fd = memfd_create("vcpu", MFD_CLOEXEC);
      ASSERT_EQ(ftruncate(fd, kRunSize), 0);
      const Result<KvmVcpu*> added = session().machine.add_vcpu(fd, kRunSize);
      ASSERT_TRUE(added);
      cpu.vcpu = *added;
      session().added(**added);
    }
  }
  void TearDown() override {
    for (Cpu& cpu : cpus) release(cpu);
    on_region = nullptr;
    over = true;
    supervisor.join();
    // Left open: for the session's thread their end would be the supervisor's end.
    (void)control.release();
    (void)commands.release();
  }

  KvmSession& session() { return *world.session; }
  // Goes on until the hooks are in, and a process runs on each vCPU.
  void boot() {
    exit_somewhere(cpus[0]);
    guest.write(guest.symbol(Symbol::system_state), uint32_t{1});
    exit_somewhere(cpus[0]);
    ASSERT_TRUE(told<link::Armed>()) << "not armed";
    for (size_t i = 0; i < 2; ++i) {
      tasks[i] = guest.task(100 + static_cast<uint32_t>(i), "service");
      const Gva table(guest.get(Gva(guest.get(tasks[i], Field::task_files)), Field::files_struct_fdt));
      guest.set(table, Field::fdtable_open_fds, guest.allocate());
      guest.set(tasks[i], Field::task_fs, guest.allocate());
      fake::FakeVcpu registers(static_cast<unsigned>(i));
      guest.run(registers, tasks[i]);
      cpus[i].sregs.gs.base = arch::per_cpu_base(registers);
      stacks[i] = guest.allocate(2 * fake::kPageSize) + fake::kPageSize;
    }
  }
  // An exit of the VMM's own, in the kernel.
  void exit_somewhere(Cpu& cpu) {
    cpu.exit_reason = KVM_EXIT_MMIO;
    cpu.next.rip = fake::kImageBase.value + 0x1000;
    EXPECT_EQ(session().run(*cpu.vcpu), 0);
  }
  // Calls a hooked function. Returns the registers with which the vCPU is to go on.
  kvm_regs call(size_t i, Symbol function, uint64_t argument = 0, uint64_t rsp = 0, uint64_t rax = 0) {
    Cpu& cpu = cpus[i];
    cpu.exit_reason = KVM_EXIT_IO;
    cpu.next = {};
    cpu.next.rip = guest.symbol(function).value;
    cpu.next.rsp = rsp ? rsp : stacks[i].value;
    cpu.next.rdi = argument;
    cpu.next.rax = rax;
    cpu.after.reset();
    EXPECT_EQ(session().run(*cpu.vcpu), -1);
    EXPECT_TRUE(cpu.after) << "the VMM was told of it";
    return cpu.after.value_or(kvm_regs{});
  }
  std::future<kvm_regs> calls(size_t i, Symbol function, uint64_t argument = 0) {
    return std::async(std::launch::async, [this, i, function, argument] { return call(i, function, argument); });
  }
  static void hold(Cpu& cpu) { cpu.hold = true; }
  static void release(Cpu& cpu) {
    cpu.hold = false;
    cpu.hold.notify_all();
  }
  static void wait_until_held(const Cpu& cpu) {
    for (int i = 0; i < 5000 && !cpu.held; ++i) usleep(1000);
    ASSERT_TRUE(cpu.held);
  }
  // A time limit, because a standstill would last for ever.
  template <typename T>
  static T end_of(std::future<T> thread) {
    if (thread.wait_for(milliseconds(20000)) != std::future_status::ready) {
      fprintf(stderr, "a vCPU stands still\n");
      abort();
    }
    return thread.get();
  }

  bool hooked(Symbol function) { return guest.word(guest.symbol(function)) % 256 == (hooks == "filter" ? 0xe9 : 0xe6); }
  int set_region(uint32_t slot, uint64_t start, uint64_t size, void* host, uint32_t flags = 0) {
    kvm_userspace_memory_region region = fake::memory_region(slot, start, size, host, flags);
    return session().set_memory_region(KVM_SET_USER_MEMORY_REGION, &region);
  }
  // The guest's RAM, all of it.
  int set_ram(uint32_t flags = 0) {
    return set_region(0, 0, guest.memory.bytes().size(), guest.memory.bytes().data(), flags);
  }
  // A message to the supervisor, within this time.
  template <typename T>
  std::optional<T> told(int within_ms = 10000) {
    for (int waited = 0;; waited += 5) {
      {
        const std::lock_guard lock(mutex);
        for (const link::Message& message : messages)
          if (const T* one = message.as<T>()) return *one;
      }
      if (waited >= within_ms) return std::nullopt;
      usleep(5000);
    }
  }
  void command_detach() { ASSERT_TRUE(link::send(commands.get(), link::Detach{}, 1)); }

  // A program of the hidden service starts on this vCPU.
  void start_service(size_t i) {
    const Gva program = guest.allocate();
    guest.set(program, Field::binprm_file, guest.open(guest.make_file(disk, "service", 7), mount));
    call(i, Symbol::fn_bprm_committed_creds, program.value);
  }

  // A hidden thread's call, up to the kernel function that it needs first.
  kvm_regs begin_call() {
    arch::UserRegisters registers{};
    registers.set_number(arch::sys::openat);
    registers.set_native();
    registers_at = guest.allocate();
    guest.write(registers_at, registers);
    guest.write(stacks[1], kCaller);
    return call(1, Symbol::fn_syscall_user_dispatch, registers_at.value);
  }
  // The kernel function returns.
  kvm_regs come_back(const kvm_regs& from) {
    return call(1, Symbol::fn_syscall_user_dispatch, registers_at.value, from.rsp + 8, 0);
  }

  static constexpr uint64_t kCaller = fake::kImageBase.value + 0x2000;
  Gva registers_at;
  bool with_service = true;
  std::string hooks = "text";
  policy::Policy policy;
  policy::Reaction on_supervisor_loss = policy::Reaction::detach;
  World& world;
  fake::FakeGuest& guest;
  fake::FileSystem disk;
  Gva mount, tasks[2], stacks[2];
  UniqueFd control, commands, proxy_lives;
  std::thread supervisor;
  std::atomic<bool> over{false};
  std::mutex mutex;
  std::vector<link::Message> messages;

 private:
  static constexpr size_t kRunSize = 12288;
  static constexpr std::array<uint8_t, 9> kNop = {0x0f, 0x1f, 0x44, 0x00, 0x00};

  static UniqueFd pair(int& theirs) {
    int ends[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    theirs = ends[1];
    return UniqueFd(ends[0]);
  }
  void add_proxy(link::Start& start) {
    auto channel = proxy::Channel::create();  // a proxy that answers nothing
    ASSERT_TRUE(channel);
    int life[2];
    ASSERT_EQ(pipe(life), 0);
    proxy_lives = UniqueFd(life[1]);
    start.proxies.push_back(
        {channel->memory.release(), channel->for_proxy.release(), channel->for_tracer.release(), life[0]});
  }
  void supervise() {
    while (!over) {
      Result<link::Message> message = link::receive(control.get(), 10);
      if (!message) continue;
      if (message->as<link::IdentifyKernel>())
        (void)link::send(control.get(), link::KernelProfile{true, guest.profile.format()});
      if (message->as<link::Untraceable>()) (void)link::send(control.get(), link::RunUntraced{});
      const std::lock_guard lock(mutex);
      messages.push_back(std::move(*message));
    }
  }
};

}  // namespace oboro::tracer
