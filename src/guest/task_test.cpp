#include "guest/task.h"

#include <gtest/gtest.h>
#include <vector>

#include "tests/support/guest/fake_guest.h"

namespace oboro::guest {
namespace {

using fake::FakeGuest;
using fake::FakeVcpu;

TEST(Task, Members) {
  FakeGuest guest;
  const Gva leader = guest.task(100, "sixteen-bytes-long"), thread = guest.thread(leader, 101);
  const Gva kthread = guest.kernel_thread(2, "kthreadd");
  const auto fs = guest.file_system(0xef53, "ext4", 1);
  guest.set_exe(leader, guest.open(guest.make_file(fs, "prog", 5)));
  Reader r(guest.kernel());
  EXPECT_EQ(Task{thread}.tgid(r), 100u);
  EXPECT_EQ(Task{thread}.pid(r), 101u);
  EXPECT_EQ(Task{thread}.start_time(r), 100000u) << "of the process";
  EXPECT_EQ(Task{leader}.comm(r), "sixteen-bytes-l");
  EXPECT_EQ(Task{leader}.exe(r), "/prog");
  EXPECT_FALSE(Task{leader}.is_kernel_thread(r));
  EXPECT_TRUE(Task{kthread}.is_kernel_thread(r));
  EXPECT_EQ(Task{kthread}.exe(r), "");
  EXPECT_FALSE(r.failed());
}

TEST(Task, CommWithoutTerminator) {
  FakeGuest guest;
  const Gva task = guest.task(100, "");
  guest.write(task + guest.profile[Field::task_comm], "abcdefghijklmnopqrst", 20);
  Reader r(guest.kernel());
  EXPECT_EQ(Task{task}.comm(r), "abcdefghijklmnop");
}

TEST(Task, Cgroup) {
  FakeGuest guest;
  const Gva task = guest.task(100, "sshd"), set = guest.allocate(), group = guest.allocate();
  const Gva root = guest.allocate(), slice = guest.allocate(), service = guest.allocate();
  guest.set(task, Field::task_cgroups, set);
  guest.set(set, Field::css_set_dfl_cgrp, group);
  guest.set(group, Field::cgroup_kn, service);
  guest.set(service, Field::kernfs_node_name, guest.string("ssh.service"));
  guest.set(service, Field::kernfs_node_parent, slice);
  guest.set(slice, Field::kernfs_node_name, guest.string("system.slice"));
  guest.set(slice, Field::kernfs_node_parent, root);
  Reader r(guest.kernel());
  EXPECT_EQ(Task{task}.cgroup(r), "/system.slice/ssh.service");
  guest.set(group, Field::cgroup_kn, root);
  EXPECT_EQ(Task{task}.cgroup(r), "/");
  guest.set(root, Field::kernfs_node_parent, root);  // a cycle
  guest.set(root, Field::kernfs_node_name, guest.string("x"));
  EXPECT_EQ(Task{task}.cgroup(r).size(), 128u);
}

TEST(TaskFinder, CurrentAndSystemCall) {
  FakeGuest guest;
  const Gva task = guest.task(100, "cat");
  guest.set_system_call(task, 44);
  FakeVcpu vcpu;
  guest.run(vcpu, task);
  Reader r(guest.kernel());
  TaskFinder finder(guest.kernel());
  ASSERT_TRUE(finder.usable());
  const uint64_t per_cpu = arch::per_cpu_base(vcpu);
  EXPECT_EQ(finder.current(r, per_cpu).at, task);
  EXPECT_FALSE(finder.stack_known());
  finder.learn_stack(r, per_cpu, Task{task});
  EXPECT_TRUE(finder.stack_known());
  EXPECT_EQ(finder.system_call(r, Task{task}), 44u);
  EXPECT_EQ(finder.system_call(r, Task{}), UINT64_MAX);
}

TEST(TaskFinder, PcpuHot) {
  FakeGuest guest;
  fake::set_missing(guest.profile, Symbol::current_task);
  fake::set_missing(guest.profile, Symbol::cpu_current_top_of_stack);
  fake::set_per_cpu(guest.profile, Symbol::pcpu_hot, fake::kCurrentTask - 0x40);
  fake::set_offset(guest.profile, Field::pcpu_hot_current_task, 0x40);
  fake::set_offset(guest.profile, Field::pcpu_hot_top_of_stack, 0x48);
  const Gva task = guest.task(100, "cat");
  FakeVcpu vcpu;
  guest.run(vcpu, task);
  Reader r(guest.kernel());
  const TaskFinder finder(guest.kernel());
  EXPECT_EQ(finder.current(r, arch::per_cpu_base(vcpu)).at, task);
}

TEST(TaskFinder, UnusableWithoutACurrentTask) {
  FakeGuest guest;
  fake::set_missing(guest.profile, Symbol::current_task);
  EXPECT_FALSE(TaskFinder(guest.kernel()).usable());
}

// Kernels with FRED leave room between the user registers and the end of the stack. The per-CPU top of the stack shows
// that.
TEST(TaskFinder, PaddedStack) {
  for (const uint64_t padding : {16u, 64u}) {
    FakeGuest guest;
    const Gva task = guest.task(100, "cat"), other = guest.task(101, "dog");
    FakeVcpu vcpu;
    guest.run(vcpu, task);
    const Gva per_cpu(arch::per_cpu_base(vcpu));
    guest.write(per_cpu + fake::kTopOfStack, guest.get(task, Field::task_stack) + fake::kThreadSize - padding);
    const uint64_t place = fake::kThreadSize - padding - guest.profile[Field::user_registers_size];
    for (const Gva t : {task, other})
      guest.set(Gva(guest.get(t, Field::task_stack)) + place, Field::user_registers_number, uint64_t{45});
    Reader r(guest.kernel());
    TaskFinder finder(guest.kernel());
    finder.learn_stack(r, per_cpu.value, Task{task});
    EXPECT_EQ(finder.system_call(r, Task{task}), 45u);
    EXPECT_EQ(finder.system_call(r, Task{other}), 45u);
  }
}

TEST(TaskFinder, NonsenseTopOfStackIsNotBelieved) {
  FakeGuest guest;
  const Gva task = guest.task(100, "cat");
  guest.set_system_call(task, 46);
  FakeVcpu vcpu;
  guest.run(vcpu, task);
  const Gva per_cpu(arch::per_cpu_base(vcpu));
  const uint64_t stack = guest.get(task, Field::task_stack);
  Reader r(guest.kernel());
  for (const uint64_t top : {uint64_t{0}, stack, stack + 100, stack + 2 * fake::kThreadSize, UINT64_MAX}) {
    guest.write(per_cpu + fake::kTopOfStack, top);
    TaskFinder finder(guest.kernel());
    finder.learn_stack(r, per_cpu.value, Task{task});
    EXPECT_EQ(finder.system_call(r, Task{task}), 46u);
  }
}

TEST(Processes, AreListedAndTheListEnds) {
  FakeGuest guest;
  const Gva a = guest.task(100, "a"), b = guest.task(200, "b");
  guest.thread(a, 101);
  std::vector<uint64_t> seen;
  Reader r(guest.kernel());
  const auto see = [&](Task task) {
    seen.push_back(task.at.value);
    return true;
  };
  EXPECT_TRUE(for_each_process(r, 100, see));
  EXPECT_EQ(seen, (std::vector{a.value, b.value}));
  seen.clear();
  EXPECT_FALSE(for_each_process(r, 1, see)) << "cut short";
  guest.set(b, Field::task_tasks, b + guest.profile[Field::task_tasks]);  // never comes back to its head
  EXPECT_FALSE(for_each_process(r, 100, see));
  guest.hide(b);
  EXPECT_FALSE(for_each_process(r, 100, see));
}

}  // namespace
}  // namespace oboro::guest
