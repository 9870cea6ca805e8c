#include "tests/support/engine/fake_engine.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "arch/arch.h"

namespace oboro::fake {

uint64_t FakeCpu::reg(arch::Reg reg) {
  if (hold_) {
    held_ = true;
    held_.notify_all();
    hold_.wait(true);
    held_ = false;
  }
  return registers.reg(reg);
}

void FakeCpu::release() {
  hold_ = false;
  hold_.notify_all();
}

bool FakeCpu::read_word(Gva at, uint64_t& out) {
  const auto read = [this](Gpa address) { return memory_.ram().read_u64(address); };
  const auto found = arch::walk(read, arch::current_tables(registers, {}), at);
  const auto word = found && found->remaining >= sizeof out ? read(found->address) : std::nullopt;
  out = word.value_or(0);
  return word.has_value();
}

FakeEngine::FakeEngine(const FakeMemory& memory, Stops form, unsigned vcpus) : stops_(form) {
  for (unsigned i = 0; i < vcpus; ++i) {
    cpus_.push_back(std::make_unique<FakeCpu>(i, memory));
    arch::set_tables(*cpus_.back(), {memory.root()});
    arch::set_kernel_mode(*cpus_.back());
  }
}

void FakeEngine::stands(FakeCpu& cpu, bool still) {
  std::unique_lock lock(mutex_);
  if (still) moved_.wait(lock, [this] { return !stopping_; });
  cpu.stands_ = still;
  moved_.notify_all();
}

bool FakeEngine::run(unsigned index, Gva at) {
  FakeCpu& one = cpu(index);
  one.go_to(at);
  stands(one, true);
  const auto hook = hooks_.find(at.value);
  const bool hooked = hook != hooks_.end();
  if (hooked) at_hook(*hook->second, one);
  stands(one, false);
  return hooked;
}

void FakeEngine::tell(unsigned index, const std::function<void(FakeCpu&)>& what) {
  stands(cpu(index), true);
  what(cpu(index));
  stands(cpu(index), false);
}

void FakeEngine::stop_all_but(const engine::Vcpu* self, const std::function<void()>& change) {
  {
    std::unique_lock lock(mutex_);
    if (stopping_) throw std::logic_error("stopped while it is stopped");
    stopping_ = true;
    moved_.wait(lock, [&] {
      return std::none_of(cpus_.begin(), cpus_.end(), [&](auto& one) { return one.get() != self && one->stands_; });
    });
  }
  ++stops;
  stopped_ = true;
  change();
  stopped_ = false;
  const std::lock_guard lock(mutex_);
  stopping_ = false;
  moved_.notify_all();
}

void FakeEngine::stop(engine::Vcpu* self, std::function<void()> change) {
  if (stops_ == Stops::at_once) return stop_all_but(self, change);
  const std::lock_guard lock(mutex_);
  if (asked_for_) throw std::logic_error("asked for a change with another to come");
  asked_for_ = std::move(change);
}

bool FakeEngine::settle() {
  std::function<void()> change;
  {
    const std::lock_guard lock(mutex_);
    change.swap(asked_for_);
  }
  if (change) stop_all_but(nullptr, change);
  return static_cast<bool>(change);
}

void FakeEngine::aside(engine::Vcpu& self, const std::function<void()>& wait) {
  const auto set = [&](bool still) {
    const std::lock_guard lock(mutex_);
    cpu(self.index()).stands_ = still;
    moved_.notify_all();
  };
  set(false);
  wait();
  set(true);
}

engine::Placed FakeEngine::place(const engine::Wanted& wanted) {
  if (!stopped_) throw std::logic_error("hooks are placed while the guest runs");
  if (!hooks_.empty()) throw std::logic_error("hooks are placed twice");
  engine::Placed placed;
  for (const engine::Hook& hook : wanted.hooks) {
    if (hook.filter_only && !filters) continue;
    if (cannot_place.contains(hook.address) || (only_few && !hook.essential))
      placed.missing.push_back(&hook);
    else
      hooks_.emplace(hook.address, &hook);
  }
  placed.filter = filters ? &filter : nullptr;
  placed.essential_only = only_few;
  return placed;
}

void FakeEngine::take_out(Code code) {
  if (!stopped_) throw std::logic_error("hooks are taken out while the guest runs");
  hooks_.clear();
  filter.clear();
  taken_out = code;
}

}  // namespace oboro::fake
