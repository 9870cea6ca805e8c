// A guest's kernel in miniature, for tests of hidden services: it enters their hooks for a thread, and executes the
// kernel functions to which their routines send the vCPU.
#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unistd.h>
#include <vector>

#include "event/detail.h"
#include "hiding/service/hider.h"
#include "tests/support/guest/fake_guest.h"

namespace oboro::fake {

class SilentReporter final : public hooks::Reporter {
 public:
  void report(event::Event& event) override {  // under the state's lock
    ++events;
    if (keeps) kept.push_back(event);
    if (on_report) on_report();
  }
  void incomplete(const char* what) override {
    const std::lock_guard lock(mutex_);
    reasons.emplace_back(what);
  }
  void kernel_replaced() override {}
  // How many of a kind were kept, with that in their words.
  size_t count(event::Kind kind, std::string_view words = {}) const {
    return static_cast<size_t>(std::count_if(kept.begin(), kept.end(), [&](const event::Event& one) {
      return one.kind == kind && event::detail(one).find(words) != std::string::npos;
    }));
  }
  size_t events = 0;
  bool keeps = false;
  std::vector<event::Event> kept;
  std::vector<std::string> reasons;
  std::function<void()> on_report;  // in the middle of a hook

 private:
  std::mutex mutex_;
};

class FakeDispatch;

// A thread of the guest, on a vCPU of its own. Several may run at the same time.
class FakeThread {
 public:
  static constexpr uint64_t kReturn = 0xffffffff81000010;  // into syscall_trace_enter()
  enum class End { native, answered, ran, stuck };

  FakeThread(FakeDispatch& kernel, Gva task_, unsigned index);

  End exits() { return enter(guest::Symbol::fn_exit_files, {task.value}); }
  // A system call; its result is `result`. stuck: `may_go_on` said no, or it took too many steps.
  End call(uint64_t number, std::array<uint64_t, 6> a = {});
  // For calls that are answered.
  int64_t answer(uint64_t number, std::array<uint64_t, 6> a = {}) {
    const End end = call(number, a);
    return end == End::answered ? result : end == End::native ? -10000 : -10001;
  }
  // Enters a hook and goes where it sends the vCPU, until the function that called the hooked one goes on.
  End enter(guest::Symbol function, std::initializer_list<uint64_t> arguments);
  End go_on(guest::Symbol function);
  bool is_marked();

  const Gva task;
  FakeVcpu vcpu;
  int64_t result = 0;
  unsigned returns_to_caller = 0;
  hooks::Operation* operation = nullptr;  // while its hook runs

 private:
  static constexpr unsigned kMostSteps = 200000;

  // What an engine lets apply() change.
  struct AtHook {
    FakeThread& thread;
    std::optional<Gva> at{};
    uint64_t reg(arch::Reg reg) { return thread.vcpu.reg(reg); }
    void set(arch::Reg reg, uint64_t value) { thread.vcpu.set(reg, value); }
    bool read_word(Gva where, uint64_t& out);
    void go_to(Gva where) { at = where; }
  };

  FakeDispatch& kernel_;
  Gva stack_, registers_;
};

class FakeDispatch {
 public:
  static constexpr uint64_t kUser = 0x7f0000000000;  // where the program's memory begins
  static constexpr size_t kUserSize = 1 << 20;
  using End = FakeThread::End;

  explicit FakeDispatch(std::span<const std::unique_ptr<hiding::Service>> services,
                        hiding::Wait wait = hiding::Wait::park)
      : guest(size_t{20} << 20),
        disk_(guest.file_system(0xef53, "ext4", 1, 16)),
        mount_(guest.mount(disk_, Gva(), Gva())),
        leader(guest.task(100, "service")),
        hider(guest.kernel(), services, wait, counters),
        state(1024, 1),
        environment(guest.kernel(), state, patterns, {}, reporter),
        user(guest.map_user(Gva(kUser), kUserSize)),
        first(*this, leader, 0) {
    environment.watcher = &hider;
    give_bits(leader);
    program_ = make_program("service", 7);
    other_program_ = make_program("other", 8);
    guest.set(leader, Field::task_fs, guest.allocate());
  }

  // The program starts: /service; or another, /other.
  End exec() { return first.enter(guest::Symbol::fn_bprm_committed_creds, {program_.value}); }
  End exec_other() { return first.enter(guest::Symbol::fn_bprm_committed_creds, {other_program_.value}); }
  End exits() { return first.exits(); }
  End call(uint64_t number, std::array<uint64_t, 6> a = {}) { return first.call(number, a); }
  int64_t answer(uint64_t number, std::array<uint64_t, 6> a = {}) { return first.answer(number, a); }
  bool is_marked() { return first.is_marked(); }
  // Another thread of the process, or another process: it is not started, forks() is that.
  Gva make_thread(uint32_t tid) {
    const Gva task = guest.thread(leader, tid);
    guest.set(task, Field::task_fs, guest.get(leader, Field::task_fs));
    return task;
  }
  Gva make_process(uint32_t tgid) {
    const Gva task = guest.task(tgid, "child");
    give_bits(task);
    guest.set(task, Field::task_fs, guest.allocate());
    return task;
  }
  void forks(FakeThread& parent, Gva child) {
    guest.run(parent.vcpu, parent.task);
    hooks::Operation operation(environment, parent.vcpu);
    hider.forked(operation, guest::Task{child});
  }

  uint64_t put(std::string_view text, size_t at = 0) {
    std::memcpy(user.data() + at, text.data(), text.size());
    user[at + text.size()] = std::byte{0};
    return kUser + at;
  }
  std::string_view text(size_t at, size_t size) const {
    return {reinterpret_cast<const char*>(user.data()) + at, size};
  }
  bool is_open(uint32_t number) { return is_open(number, leader); }
  bool is_open(uint32_t number, Gva task) { return word(bits_of(task) + number / 64 * 8) >> (number % 64) & 1; }
  Gva file_of(uint32_t number) {
    const Gva table(guest.get(Gva(guest.get(leader, Field::task_files)), Field::files_struct_fdt));
    return Gva(word(Gva(guest.get(table, Field::fdtable_fd)) + number * 8));
  }
  void close_all() { guest.write(bits_of(leader), std::array<uint64_t, 4>{}); }  // as exit_files() does
  uint64_t execute(const engine::Call& to, Gva task);

  FakeGuest guest;

 private:
  FileSystem disk_;
  Gva mount_;

 public:
  Gva leader;
  stream::RingCounters counters;
  hiding::Hider hider;
  labels::Carriers state;
  labels::PatternSet patterns;
  SilentReporter reporter;
  hooks::Environment environment;
  std::span<std::byte> user;
  bool user_in_ram = true;  // false: swapped out, and only the kernel's functions bring it
  FakeThread first;
  int64_t sleep_result = 0;  // of schedule_hrtimeout: -EINTR, a signal is there
  bool takes_time = true;    // to sleep; a proxy in another thread needs some
  size_t pages = 0;          // that were got and not freed
  std::function<bool(const engine::Call&)> may_go_on;
  // Instead of what the function does: a hostile kernel.
  std::function<std::optional<uint64_t>(const engine::Call&)> instead;

 private:
  uint64_t word(Gva at) { return guest.word(at); }
  // Hostile routines and kernels name any address.
  bool put_bytes(uint64_t at, std::span<const std::byte> bytes) {
    return guest::Writer(guest.kernel()).write(Gva(at), bytes);
  }
  Gva make_program(std::string_view name, uint64_t number) {
    const Gva program = guest.allocate();
    guest.set(program, Field::binprm_file, guest.open(guest.make_file(disk_, name, number), mount_));
    return program;
  }
  std::byte* user_at(uint64_t at, uint64_t size, uint64_t& part) {
    part = at >= kUser && at < kUser + kUserSize ? std::min(size, kUser + kUserSize - at) : 0;
    return part ? user.data() + (at - kUser) : nullptr;
  }
  // The number of a new epoll instance. It has nothing of its own that would be ready.
  uint64_t make_epoll(Gva task) {
    const uint64_t number = first_free(task, 0, 256);
    if (static_cast<int64_t>(number) < 0) return number;
    const Gva file = guest.allocate();
    guest.set(file, Field::file_op, guest.symbol(Symbol::eventpoll_fops));
    guest.set(file, Field::file_private_data, guest.allocate());
    guest.set_file(task, static_cast<uint32_t>(number), file);
    return number;
  }
  Gva bits_of(Gva task) {
    const Gva table(guest.get(Gva(guest.get(task, Field::task_files)), Field::files_struct_fdt));
    return Gva(guest.get(table, Field::fdtable_open_fds));
  }
  void give_bits(Gva task) {
    const Gva table(guest.get(Gva(guest.get(task, Field::task_files)), Field::files_struct_fdt));
    guest.set(table, Field::fdtable_open_fds, guest.allocate());
  }
  void set_open(Gva task, uint32_t number, bool open) {
    const Gva at = bits_of(task) + number / 64 * 8;
    const uint64_t bit = uint64_t{1} << (number % 64);
    guest.write(at, open ? word(at) | bit : word(at) & ~bit);
  }
  uint64_t first_free(Gva task, uint64_t from, uint64_t to) {
    for (uint64_t number = from; number < std::min<uint64_t>(to, 256); ++number)
      if (!is_open(static_cast<uint32_t>(number), task)) {
        set_open(task, static_cast<uint32_t>(number), true);
        return number;
      }
    return static_cast<uint64_t>(-EMFILE);
  }

  std::mutex mutex_;
  Gva program_, other_program_;
  std::vector<Gva> spare_;
};

inline uint64_t FakeDispatch::execute(const engine::Call& to, Gva task) {
  if (instead)
    if (const auto value = instead(to)) return *value;
  const auto is = [&](guest::Symbol function) { return to.function == guest.symbol(function); };
  const auto& a = to.arguments;
  uint64_t part = 0;
  if (is(Symbol::call_yield)) {
    if (takes_time) usleep(50);
    return 0;
  }
  if (is(Symbol::call_schedule_hrtimeout)) {
    if (takes_time) usleep(100);
    // A killable sleep is not ended by a signal that does not kill.
    const auto how = static_cast<uint32_t>(guest.get(task, Field::task_state));
    return how == static_cast<uint32_t>(hiding::Thread::Sleep::interruptible) ? static_cast<uint64_t>(sleep_result) : 0;
  }
  const std::lock_guard lock(mutex_);
  if (is(Symbol::call_get_free_pages)) {
    ++pages;
    if (spare_.empty()) return guest.allocate(kPageSize << a[1]).value;
    const Gva got = spare_.back();
    spare_.pop_back();
    return got.value;
  } else if (is(Symbol::call_free_pages)) {
    --pages;
    spare_.emplace_back(a[0]);
  } else if (is(Symbol::call_copy_from_user)) {
    const std::byte* from = user_at(a[1], a[2], part);
    return a[2] - (put_bytes(a[0], {from, part}) ? part : 0);
  } else if (is(Symbol::call_copy_to_user)) {
    std::byte* out = user_at(a[0], a[2], part);
    if (part && !guest.kernel().read(Gva(a[1]), out, part)) part = 0;
    return a[2] - part;
  } else if (is(Symbol::call_strncpy_from_user)) {
    const std::byte* from = user_at(a[1], a[2], part);
    if (!part) return static_cast<uint64_t>(-EFAULT);
    const size_t size = strnlen(reinterpret_cast<const char*>(from), part);
    if (size == part && part < a[2]) return static_cast<uint64_t>(-EFAULT);
    return put_bytes(a[0], {from, std::min<size_t>(size + 1, part)}) ? size : static_cast<uint64_t>(-EFAULT);
  } else if (is(Symbol::call_get_unused_fd_flags)) {
    return first_free(task, 0, 256);
  } else if (is(Symbol::call_sys_epoll_create1)) {
    return make_epoll(task);
  } else if (is(Symbol::call_alloc_fd)) {
    return first_free(task, a[0], a[1]);
  } else if (is(Symbol::call_put_unused_fd)) {
    if (a[0] < 256) set_open(task, static_cast<uint32_t>(a[0]), false);
  }
  return 0;
}

inline FakeThread::FakeThread(FakeDispatch& kernel, Gva task_, unsigned index)
    : task(task_), vcpu(index), kernel_(kernel) {
  stack_ = kernel.guest.allocate(4 * kPageSize) + (4 * kPageSize - 1024);
  registers_ = stack_ + 256;
}

inline bool FakeThread::AtHook::read_word(Gva where, uint64_t& out) {
  return thread.kernel_.guest.kernel().read(where, &out, sizeof out);
}

inline FakeThread::End FakeThread::call(uint64_t number, std::array<uint64_t, 6> a) {
  arch::UserRegisters r{};
  r.set_number(number);
  r.set_arguments(a);
  r.set_native();
  kernel_.guest.write(registers_, r);
  return enter(guest::Symbol::fn_syscall_user_dispatch, {registers_.value});
}

inline FakeThread::End FakeThread::enter(guest::Symbol function, std::initializer_list<uint64_t> arguments) {
  vcpu.set_arguments(arguments);
  arch::use_frame(
      vcpu, arch::make_frame(stack_, Gva(kReturn), [this](Gva at, uint64_t word) { kernel_.guest.write(at, word); }));
  kernel_.guest.run(vcpu, task);
  arch::set_tables(vcpu, {kernel_.user_in_ram ? kernel_.guest.memory.root() : 0});
  return go_on(function);
}

inline FakeThread::End FakeThread::go_on(guest::Symbol function) {
  const hooks::HookPoint* point = nullptr;
  for (const hooks::HookPoint& one : kernel_.hider.hook_points())
    if (one.function == function) point = &one;
  for (unsigned step = 0; step < kMostSteps; ++step) {
    engine::Response response;
    {
      hooks::Operation now(kernel_.environment, vcpu);
      operation = &now;
      hooks::dispatch(*point, now);
      operation = nullptr;
      response = now.response;
    }
    AtHook at{*this};
    if (const auto* back = std::get_if<engine::Return>(&response)) {
      const arch::CallFrame from = back->call ? back->call->frame : arch::call_frame(vcpu);
      returns_to_caller += engine::apply(response, at) && from.stack == stack_ && at.at == Gva(kReturn);
      result = static_cast<int64_t>(kernel_.guest.word(registers_ + arch::UserRegisters::result_offset()));
      return back->value ? End::answered : End::native;
    }
    const auto* to = std::get_if<engine::Call>(&response);
    if (!to) return End::ran;
    arch::leave_frame(vcpu, to->frame);
    if (kernel_.may_go_on && !kernel_.may_go_on(*to)) return End::stuck;
    arch::set_result(vcpu, kernel_.execute(*to, task));
    // A function may leave anything in the registers of its arguments.
    for (size_t i = 0; i < arch::kArgumentCount; ++i) arch::set_argument(vcpu, i, 0x5a5a5a5a5a5a5a5a);
    Gva back;
    if (!arch::return_address(at, to->frame, back) || back != kernel_.guest.symbol(function)) return End::stuck;
  }
  return End::stuck;
}

inline bool FakeThread::is_marked() {
  const guest::Profile& p = kernel_.guest.profile;
  return kernel_.guest.word(task + p[Field::thread_info_syscall_work]) >> (p[Field::syscall_user_dispatch_bit] & 63) &
         1;
}

}  // namespace oboro::fake
