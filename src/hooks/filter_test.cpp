// Filter programs that no handler in the table of this folder has.
#include "hooks/filter.h"

#include <gtest/gtest.h>

#include "tests/support/engine/fake_filter.h"
#include "tests/support/guest/fake_guest.h"

namespace oboro::hooks {
namespace {

using guest::Field;

class FilterTest : public testing::Test {
 protected:
  FilterTest()
      : guest(size_t{16} << 20),
        disk(guest.file_system(0xef53, "ext4", 1, 16)),
        mount(guest.mount(disk, Gva(), Gva())),
        task(guest.task(100, "shell")) {}
  // Whether the vCPU stops when the task executes a program of this name.
  bool stops(std::string_view name, std::span<const std::string> executables) {
    const Gva program = guest.allocate();
    guest.set(program, Field::binprm_file, guest.open(guest.make_file(disk, name, ++inode), mount));
    fake::FakeVcpu vcpu(0);
    guest.run(vcpu, task);
    guest::TaskFinder tasks(guest.kernel());
    const auto layout = filter_layout(guest.kernel(), tasks.current_offset());
    const auto steps = filter_program(Interest::executed, guest.kernel(), *layout, executables);
    fake::FakeFilter::Guest view;
    view.word = [this](Gva at) { return guest.word(at); };
    view.per_cpu = arch::per_cpu_base(vcpu);
    view.arguments[0] = program.value;
    return filter.run(*steps, *layout, view);
  }

  fake::FakeGuest guest;
  fake::FileSystem disk;
  Gva mount, task;
  fake::FakeFilter filter;
  uint64_t inode = 10;
};

TEST_F(FilterTest, OnlyProgramsOfSuchANameStop) {
  const std::string names[] = {"rsyslogd", "auditd", "ls", "rsyncXXd", "\xc3\xa9\xc3\xa9loggers"};
  for (const std::string& name : names) EXPECT_TRUE(stops(name, names)) << name;
  EXPECT_TRUE(stops("rsysXXXX", names)) << "so it begins, and so long is it";
  EXPECT_TRUE(stops("XX", names)) << "too short to tell";
  for (const char* name : {"bash", "dash", "rsyslogd2", "XXyslogd", "audit", "Auditd", "systemd-journald", "a"})
    EXPECT_FALSE(stops(name, names)) << name;
}

TEST_F(FilterTest, EveryProgramStopsWhereNoneIsNamed) { EXPECT_TRUE(stops("bash", {})); }

TEST_F(FilterTest, AProcessOfInterestStopsWhateverItExecutes) {
  const std::string names[] = {"rsyslogd"};
  filter.add_process(100);
  EXPECT_TRUE(stops("bash", names));
}

}  // namespace
}  // namespace oboro::hooks
