// What the tests of the handlers share: a fake guest, and one operation at a time in it.
#pragma once

#include <gtest/gtest.h>
#include <string>
#include <vector>

#include "hooks/filter.h"
#include "hooks/table.h"
#include "tests/support/engine/fake_filter.h"
#include "tests/support/guest/fake_guest.h"

namespace oboro::hooks {

namespace sys = arch::sys;
using event::Kind;
using event::ObjectType;
using fake::address;
using fake::endpoint;
using guest::Field;
using guest::FileType;
using guest::Symbol;
using labels::Carrier;
using labels::CarrierKind;

class RecordingReporter final : public Reporter {
 public:
  RecordingReporter(labels::Carriers& state, const policy::Policy& policy) : state_(state), policy_(policy) {}
  void report(event::Event& event) override { events.push_back(event); }
  void incomplete(const char* what) override {
    gaps.emplace_back(what);
    if (policy_.may_refuse_all() && !state_.sends_refused()) state_.refuse_sends(what);
  }
  void kernel_replaced() override { replaced = true; }

  std::vector<event::Event> events;
  std::vector<std::string> gaps;
  bool replaced = false;

 private:
  labels::Carriers& state_;
  const policy::Policy& policy_;
};

inline constexpr uint64_t kSecret = 1, kOther = 2;
using guest::kMayRead;
using guest::kMayWrite;

class HookTest : public testing::Test {
 protected:
  explicit HookTest(size_t capacity = 4096)
      : state(capacity, 1),
        disk(guest.file_system(0xef53, "ext4", 0x800001, 0x10)),
        root_mount(guest.mount(disk, Gva(), Gva())) {
    guest.device({address("127.0.0.1"), address("::1")});
    guest.device({address("10.0.2.15"), address("fec0::15")});
    reader = guest.task(100, "reader");
    writer = guest.task(200, "writer");
    secret = guest.make_file(disk, "secret", 11);
    plain = guest.make_file(disk, "plain", 12);
  }

  // The handler's answer to the call.
  struct Answer {
    explicit Answer(const engine::Response& response) {
      if (const auto* back = std::get_if<engine::Return>(&response)) deny = true, result = back->value;
    }
    bool deny = false;
    int64_t result = 0;
  };
  // The vCPU stands at the start of a kernel function that `task` has called with these arguments.
  Answer call(Symbol function, Gva task, std::initializer_list<uint64_t> arguments = {}) {
    if (!environment) begin();
    guest.run(vcpu, task);
    vcpu.set_arguments(arguments);
    Operation operation(*environment, vcpu);
    for (const HookPoint& point : hook_points())
      if (point.function == function && is_of_interest(point)) dispatch(point, operation);
    reads = operation.r.reads();
    return Answer(operation.response);
  }
  void begin() {
    environment = std::make_unique<Environment>(guest.kernel(), state, patterns, policy, reporter);
    if (!kFiltered) return;
    layout = *filter_layout(guest.kernel(), environment->tasks.current_offset());
    environment->filter = &filter;
    state.set_marks(&marks);
  }
  // Where calls are filtered, most of them do not reach their handler. Every test has to hold all the same.
  bool is_of_interest(const HookPoint& point) {
    if (!kFiltered) return point.interest != Interest::known_dentry;
    fake::FakeFilter::Guest view;
    view.word = [this](Gva at) {
      uint64_t value = 0;
      guest.kernel().read(at, &value, sizeof value);
      return value;
    };
    view.set_word = [this](Gva at, uint64_t value) { guest.write(at, value); };
    view.per_cpu = arch::per_cpu_base(vcpu);
    for (size_t i = 0; i < view.arguments.size(); ++i) view.arguments[i] = arch::argument(vcpu, i);
    const auto program = filter_program(interest_of(point, policy), guest.kernel(), layout);
    if (!program) throw std::logic_error("no filter for a hook");
    const bool stops = filter.run(*program, layout, view);
    stopped += stops;
    return stops;
  }
  void open(Gva task, Gva file) { call(Symbol::fn_file_open, task, {file.value}); }
  void read(Gva task, Gva file) { call(Symbol::fn_file_permission, task, {file.value, kMayRead}); }
  void write(Gva task, Gva file) { call(Symbol::fn_file_permission, task, {file.value, kMayWrite}); }

  Carrier inode(Gva dentry) { return {CarrierKind::inode, guest.inode_of(dentry).value}; }
  Carrier identity(Gva dentry) {
    guest::Reader r(guest.kernel());
    return {CarrierKind::file, guest::Inode{guest.inode_of(dentry)}.identity(r).hash()};
  }
  Carrier process(Gva task) { return {CarrierKind::process, guest.get(task, Field::task_tgid) & 0xffffffff}; }
  uint64_t labels(Carrier carrier) { return state.labels(carrier); }
  uint64_t labels(Gva task) { return labels(process(task)); }
  void label(Carrier carrier, uint64_t mask = kSecret) { (void)state.add(mask, carrier); }
  void label_file(Gva dentry, uint64_t mask = kSecret) { (void)state.add(mask, inode(dentry), identity(dentry)); }
  void label(Gva task, uint64_t mask = kSecret) { label(process(task), mask); }

  // The events since the last call, as "kind from>object".
  std::vector<std::string> told() {
    std::vector<std::string> out;
    for (const event::Event& event : reporter.events) out.push_back(text(event));
    reporter.events.clear();
    return out;
  }
  static std::string text(const event::Object& object) {
    switch (object.type) {
      case ObjectType::process:
        return std::to_string(object.process.pid);
      case ObjectType::file:
      case ObjectType::terminal:
      case ObjectType::queue:
        return object.path.empty() ? std::string(name(object.type)) : object.path;
      case ObjectType::socket:
        return object.protocol + " " + object.local.address + ":" + std::to_string(object.local.port) + "-" +
               object.remote.address + ":" + std::to_string(object.remote.port);
      default:
        return std::string(name(object.type));
    }
  }
  static std::string text(const event::Event& event) {
    std::string out(name(event.kind));
    if (event.from.type != ObjectType::none) out += " " + text(event.from) + " >";
    return out + " " + text(event.object);
  }
  using Told = std::vector<std::string>;

  // A test that expects gaps takes them away. Any other gap is a failure.
  void TearDown() override { EXPECT_EQ(reporter.gaps, std::vector<std::string>()); }
  std::vector<std::string> gaps() { return std::exchange(reporter.gaps, {}); }

#ifdef OBORO_TEST_FILTERED
  static constexpr bool kFiltered = true;
#else
  static constexpr bool kFiltered = false;
#endif
  fake::FakeFilter filter;
  FilterMarks marks{filter};
  engine::FilterLayout layout;
  uint32_t reads = 0;    // of the guest's memory, by the last call
  unsigned stopped = 0;  // calls that the filter found of interest

  fake::FakeGuest guest;
  fake::FakeVcpu vcpu;
  labels::Carriers state;
  labels::PatternSet patterns;
  policy::Policy policy;
  RecordingReporter reporter{state, policy};
  std::unique_ptr<Environment> environment;

  fake::FileSystem disk;
  Gva root_mount, reader, writer, secret, plain;
};

}  // namespace oboro::hooks
