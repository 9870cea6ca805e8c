// A whole engine for tests: vCPUs that the test runs to addresses, over a fake guest's memory. What an engine must not
// be asked for throws.
//
// Threads: a vCPU on one at a time; the rest by any. One that is stopped for waits, as in a real machine.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/placement.h"
#include "engine/stopping.h"
#include "tests/support/engine/fake_filter.h"
#include "tests/support/engine/fake_memory.h"
#include "tests/support/engine/fake_vcpu.h"

namespace oboro::fake {

// A vCPU that can be answered (engine::apply), and held in the middle of a handler: at its next look at a register.
class FakeCpu final : public engine::Vcpu {
 public:
  FakeCpu(unsigned index, const FakeMemory& memory) : registers(index), memory_(memory) {}

  FakeVcpu registers;
  unsigned index() const override { return registers.index(); }
  uint64_t reg(arch::Reg reg) override;
  void set(arch::Reg reg, uint64_t value) { registers.set(reg, value); }
  bool read_word(Gva at, uint64_t& out);
  void go_to(Gva at) { arch::set_program_counter(*this, at); }

  void hold() { hold_ = true; }
  void wait_until_held() const { held_.wait(false); }
  void release();

 private:
  friend class FakeEngine;
  const FakeMemory& memory_;
  std::atomic<bool> hold_{false}, held_{false};
  bool stands_ = false;  // still, while somebody is told of it. By FakeEngine's mutex
};

class FakeEngine final : public engine::Placement, public engine::Stopping {
 public:
  enum class Stops { at_once, later };
  FakeEngine(const FakeMemory& memory, Stops form, unsigned vcpus);

  FakeCpu& cpu(unsigned index) { return *cpus_.at(index); }
  // Who is told of a vCPU at a hook.
  std::function<void(const engine::Hook&, FakeCpu&)> at_hook;
  // The vCPU comes to that address; where it goes on is in its registers then. False: no hook was there.
  bool run(unsigned index, Gva at);
  // The vCPU stands still somewhere else while it is told of.
  void tell(unsigned index, const std::function<void(FakeCpu&)>& what);
  // For one that stops later: that moment has come. False if nothing was asked for.
  bool settle();

  // What this engine can: to be said before place().
  std::set<uint64_t> cannot_place;  // addresses
  bool filters = false, only_few = false;
  FakeFilter filter;

  // What has become of it.
  size_t placed() const { return hooks_.size(); }
  bool is_placed(Gva at) const { return hooks_.contains(at.value); }
  std::optional<Code> taken_out;  // the last time
  std::atomic<unsigned> stops{0};
  std::string ended;  // why, if the machine has

  engine::Placed place(const engine::Wanted& wanted) override;
  void take_out(Code code) override;
  bool at_once() const override { return stops_ == Stops::at_once; }
  void stop(engine::Vcpu* self, std::function<void()> change) override;
  void aside(engine::Vcpu& self, const std::function<void()>& wait) override;
  void end(const std::string& why) override { ended = why; }

 private:
  void stands(FakeCpu& cpu, bool still);
  void stop_all_but(const engine::Vcpu* self, const std::function<void()>& change);

  const Stops stops_;
  std::vector<std::unique_ptr<FakeCpu>> cpus_;
  std::map<uint64_t, const engine::Hook*> hooks_;
  std::mutex mutex_;
  std::condition_variable moved_;
  bool stopping_ = false, stopped_ = false;
  std::function<void()> asked_for_;
};

}  // namespace oboro::fake
