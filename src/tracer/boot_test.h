// A boot on the fake engine, in both its forms: with a machine that stops at once, and one that stops later.
#pragma once

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <thread>

#include "tests/support/engine/fake_engine.h"
#include "tracer/boot.h"
#include "tracer/tracer_test.h"

namespace oboro::tracer {

using fake::FakeCpu;
using fake::FakeEngine;
using guest::Field;
using Phase = Boot::Phase;
using Code = engine::Placement::Code;
using Stops = FakeEngine::Stops;

class BootTest : public TracerTest, public testing::WithParamInterface<Stops> {
 protected:
  BootTest() : engine(guest.memory, GetParam(), 2), mm(guest.mm(task)) {
    for (unsigned i = 0; i < 2; ++i) guest.run(engine.cpu(i).registers, task);
    set_programs(false);
  }
  ~BootTest() override { stop_supervising(); }
  void stop_supervising() {
    over = true;
    if (supervising.joinable()) supervising.join();
    over = false;
  }
  void begin() {
    stop_supervising();
    make();
    boot = std::make_unique<Boot>(*tracer, engine, engine);
    engine.at_hook = [this](const engine::Hook& hook, FakeCpu& cpu) { boot->at_hook(hook, cpu, cpu); };
    supervising = std::thread([this] { supervise(); });
  }
  void supervise() {
    while (!over) {
      const Result<link::Message> message = link::receive(supervisor.get(), 5);
      if (!message) continue;
      told[message->type()]++;
      if (message->as<link::IdentifyKernel>())
        (void)link::send(supervisor.get(), traceable ? link::Body(link::KernelProfile{true, guest.profile.format()})
                                                     : link::Body(link::Failed{"BTF is missing"}));
      if (!message->as<link::Untraceable>()) continue;
      stops_when_asked = engine.stops.load();
      (void)link::send(supervisor.get(), goes_on ? link::Body(link::RunUntraced{}) : link::Body(link::Failed{"no"}));
    }
  }
  unsigned times(link::Type type) {
    stop_supervising();  // all messages have arrived, and are looked at
    while (const auto message = link::receive(supervisor.get(), 0)) told[message->type()]++;
    const unsigned count = told[type];
    supervising = std::thread([this] { supervise(); });
    return count;
  }

  void set_programs(bool run) { guest.set(task, Field::task_mm, run ? mm : Gva()); }
  void set_initialised(bool is) { guest.write(guest.symbol(Symbol::system_state), uint32_t{is}); }
  void seen_in_kernel(unsigned i = 0) {
    engine.tell(i, [this](FakeCpu& cpu) { boot->in_kernel(cpu); });
  }
  void before_program(unsigned i = 0) {
    engine.tell(i, [this](FakeCpu& cpu) { boot->before_program(cpu); });
  }
  void runs_program() {
    engine.tell(0, [this](FakeCpu& cpu) { boot->runs_program(cpu); });
  }
  void reset(unsigned i = 0) {
    FakeCpu& one = engine.cpu(i);
    arch::set_after_reset(one);
    engine.tell(i, [this](FakeCpu& cpu) { boot->at_reset_vector(cpu); });
    arch::set_kernel_mode(one);
  }
  // Goes on until the hooks are in, and a program runs.
  void start() {
    set_programs(false);
    set_initialised(false);
    seen_in_kernel();
    set_initialised(true);
    seen_in_kernel();
    engine.settle();
    ASSERT_EQ(boot->phase(), Phase::armed);
    set_programs(true);
  }
  bool call(unsigned i, Symbol function, std::initializer_list<uint64_t> arguments = {}) {
    engine.cpu(i).registers.set_arguments(arguments);
    return engine.run(i, guest.symbol(function));
  }
  bool opens_secret(unsigned i = 0) {
    const Gva file = guest.open(secret);
    return call(i, Symbol::fn_file_open, {file.value}) && call(i, Symbol::fn_file_permission, {file.value, 4});
  }
  bool happened(Kind kind) {
    const auto all = events();
    return std::any_of(all.begin(), all.end(), [kind](auto& one) { return one.kind == kind; });
  }
  bool later() const { return GetParam() == Stops::later; }

  FakeEngine engine;
  const Gva mm;
  std::unique_ptr<Boot> boot;
  std::atomic<bool> over{false}, traceable{true}, goes_on{true};
  std::atomic<unsigned> stops_when_asked{0};
  std::map<link::Type, unsigned> told;
};

// For INSTANTIATE_TEST_SUITE_P.
inline const auto kMachines = testing::Values(Stops::at_once, Stops::later);
inline std::string name_of(const testing::TestParamInfo<Stops>& one) {
  return one.param == Stops::later ? "StopLater" : "StopAtOnce";
}

}  // namespace oboro::tracer
