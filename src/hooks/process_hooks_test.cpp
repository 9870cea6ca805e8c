#include <cstring>

#include "hooks/hook_test.h"

namespace oboro::hooks {
namespace {

constexpr uint64_t kAttach = 2, kFollWrite = 1;

class ProcessHooks : public HookTest {};

TEST_F(ProcessHooks, ForkGivesTheChildTheLabels) {
  const Gva child = guest.task(300, "child");
  call(Symbol::fn_wake_up_new_task, reader, {child.value});
  EXPECT_EQ(labels(child), 0u);
  label(reader);
  call(Symbol::fn_wake_up_new_task, reader, {child.value});
  EXPECT_EQ(labels(child), kSecret);
  EXPECT_EQ(told(), Told{"diffusion 100 > 300"});
  EXPECT_EQ(labels(writer), 0u);
}

TEST_F(ProcessHooks, ThreadsAreTheSameProcess) {
  const Gva thread = guest.thread(reader, 101);
  label(reader);
  call(Symbol::fn_wake_up_new_task, reader, {thread.value});
  EXPECT_EQ(told(), Told{});
  label_file(secret, kOther);
  read(thread, guest.open(secret));
  EXPECT_EQ(labels(reader), kSecret | kOther);
  EXPECT_EQ(reporter.events.at(0).subject.tid, 101u);
  EXPECT_EQ(reporter.events.at(0).subject.comm, "reader") << "of the process";
}

TEST_F(ProcessHooks, KernelThreadsInheritNothing) {
  const Gva kthread = guest.kernel_thread(30, "kworker");
  label(reader);
  call(Symbol::fn_wake_up_new_task, reader, {kthread.value});
  EXPECT_EQ(labels(kthread), 0u);
}

TEST_F(ProcessHooks, EndOfAThreadIsNotTheEndOfTheProcess) {
  const Gva thread = guest.thread(reader, 101);
  label(reader);
  call(Symbol::fn_release_task, reader, {thread.value});
  EXPECT_EQ(labels(reader), kSecret);
  call(Symbol::fn_release_task, writer, {reader.value});
  EXPECT_EQ(labels(reader), 0u);
  EXPECT_EQ(told(), Told{"exited 100"});
  call(Symbol::fn_release_task, writer, {writer.value});
  EXPECT_EQ(told(), Told{});
}

TEST_F(ProcessHooks, ReusedPidIsClean) {
  label(reader);
  const uint64_t id = state.find(process(reader)).id;
  call(Symbol::fn_release_task, writer, {reader.value});
  const Gva again = guest.task(100, "another");
  EXPECT_EQ(labels(again), 0u);
  label_file(secret);
  read(again, guest.open(secret));
  EXPECT_EQ(labels(again), kSecret);
  EXPECT_NE(state.find(process(again)).id, id);
}

TEST_F(ProcessHooks, Exec) {
  guest.set_exe(reader, guest.open(secret));
  const Gva program = guest.allocate();
  guest.set(program, Field::binprm_file, guest.open(plain));
  guest.set(program, Field::binprm_filename, guest.string("./bin/a-name-of-more-than-15"));
  call(Symbol::fn_begin_new_exec, reader, {program.value});
  EXPECT_EQ(told(), Told{});
  label(reader);
  call(Symbol::fn_begin_new_exec, reader, {program.value});
  ASSERT_EQ(reporter.events.size(), 1u);
  const event::Event event = reporter.events[0];
  EXPECT_EQ(event.as<event::Exec>().previous, "/secret");
  EXPECT_EQ(event.object.process.exe, "/plain");
  EXPECT_EQ(event.object.path, "");
  EXPECT_EQ(event.subject.exe, "/plain");
  EXPECT_EQ(event.subject.comm, "a-name-of-more-");
  EXPECT_EQ(event.labels, kSecret);
  EXPECT_EQ(told(), Told{"exec 100"});
  EXPECT_EQ(labels(reader), kSecret);
}

TEST_F(ProcessHooks, ASubjectSaysWhoItIs) {
  constexpr Gva kStack{0x7ffc00000000};
  constexpr std::string_view kOld("sh\0-i\0", 6), kNew("curl\0-s\0HOME=/\0", 15);
  const auto stack = guest.map_user(kStack, fake::kPageSize);
  std::memcpy(stack.data(), kOld.data(), kOld.size());
  std::memcpy(stack.data() + 100, kNew.data(), kNew.size());
  const Gva mm = guest.mm(reader), program = guest.allocate(), cred = guest.allocate();
  guest.set(mm, Field::mm_pgd, fake::kDirectMap + guest.memory.root());
  guest.set(mm, Field::mm_arg_start, kStack.value);
  guest.set(mm, Field::mm_arg_end, kStack.value + kOld.size());
  guest.set(cred, Field::cred_uid, uint32_t{33});
  guest.set(reader, Field::task_cred, cred);
  guest.set(reader, Field::task_loginuid, uint32_t{1000});
  guest.set(reader, Field::task_real_parent, writer);
  label_file(secret);
  read(reader, guest.open(secret));
  using Argv = std::vector<std::string>;
  const event::Subject before = reporter.events.at(0).subject;
  EXPECT_EQ(before.argv, (Argv{"sh", "-i"}));
  EXPECT_EQ(before.uid, 33u);
  EXPECT_EQ(before.login_uid, 1000u);
  EXPECT_EQ(before.parent, 200u);
  EXPECT_EQ(reporter.events[0].object.process.argv, Argv{}) << "an object is only which process it is";

  guest.set(program, Field::binprm_file, guest.open(plain));
  guest.set(program, Field::binprm_filename, guest.string("/plain"));
  guest.set(program, Field::binprm_mm, mm);
  guest.set(program, Field::binprm_p, kStack.value + 100);
  guest.set(program, Field::binprm_argc, uint32_t{2});
  call(Symbol::fn_begin_new_exec, reader, {program.value});
  EXPECT_EQ(reporter.events.at(1).subject.argv, (Argv{"curl", "-s"})) << "of the program to be";
  EXPECT_EQ(reporter.gaps, std::vector<std::string>{});
}

TEST_F(ProcessHooks, WhatIsNotThereToSayWhoMakesNothingIncomplete) {
  guest.set(reader, Field::task_cred, Gva(0xdead000000000000));
  guest.set(reader, Field::task_real_parent, Gva(0xdead000000000000));
  guest.set(guest.mm(reader), Field::mm_pgd, Gva(0xdead000000000000));
  guest.set(guest.mm(reader), Field::mm_arg_end, uint64_t{100});
  label_file(secret);
  read(reader, guest.open(secret));
  EXPECT_EQ(reporter.events.at(0).subject.uid, event::kNoUser);
  EXPECT_EQ(reporter.gaps, std::vector<std::string>{});
}

TEST_F(ProcessHooks, AnEventSaysTheUsersNames) {
  const Gva passwd = guest.inode(disk.sb, guest::FileType::regular, 60);
  guest.cache(passwd, "root:x:0:0:::\nalice:x:1000:1000:::\n");
  guest.dentry(guest.dentry(disk.root, "etc", guest.inode(disk.sb, guest::FileType::directory, 61)), "passwd", passwd);
  const Gva init = guest.task(1, "init"), list = guest.symbol(Symbol::init_task) + guest.profile[Field::task_tasks];
  guest.set_root(init, root_mount, disk.root);
  guest.write(list, init + guest.profile[Field::task_tasks]);  // the first one, whoever was made before
  const Gva cred = guest.allocate();
  guest.set(cred, Field::cred_uid, uint32_t{0});
  guest.set(reader, Field::task_cred, cred);
  guest.set(reader, Field::task_loginuid, uint32_t{1000});
  label_file(secret);
  read(reader, guest.open(secret));
  EXPECT_EQ(reporter.events.at(0).subject.user, "root");
  EXPECT_EQ(reporter.events.at(0).subject.login_user, "alice");
  EXPECT_EQ(reporter.events[0].object.process.user, "") << "an object is only which process it is";

  guest.set(reader, Field::task_loginuid, UINT32_MAX);
  guest.set(cred, Field::cred_uid, uint32_t{77});
  label_file(plain, kOther);
  read(reader, guest.open(plain));
  EXPECT_EQ(reporter.events.at(1).subject.uid, 77u);
  EXPECT_EQ(reporter.events.at(1).subject.user, "");
  EXPECT_EQ(reporter.events.at(1).subject.login_user, "");
  EXPECT_EQ(reporter.gaps, std::vector<std::string>{});
}

TEST_F(ProcessHooks, SharedMemoryOfVforkAndCloneVm) {
  const Gva child = guest.task(300, "child");
  guest.share_mm(child, guest.mm(reader));
  label_file(secret);
  read(child, guest.open(secret));
  EXPECT_EQ(told(), (Told{"diffusion /secret > 300", "diffusion 300 > 100"}));
  EXPECT_EQ(labels(reader), kSecret);
  EXPECT_EQ(labels(writer), 0u);
}

TEST_F(ProcessHooks, ManyThreadsShareNothingWithOthers) {
  for (uint32_t tid = 101; tid < 110; ++tid) guest.thread(reader, tid);
  label_file(secret);
  read(reader, guest.open(secret));
  EXPECT_EQ(told(), Told{"diffusion /secret > 100"});
}

TEST_F(ProcessHooks, ListOfProcessesThatDoesNotEndIsAGap) {
  const Gva child = guest.task(300, "child");
  guest.share_mm(child, guest.mm(reader));
  guest.set(writer, Field::task_tasks, writer + guest.profile[Field::task_tasks]);
  label_file(secret);
  read(reader, guest.open(secret));
  EXPECT_FALSE(gaps().empty());
  EXPECT_EQ(labels(reader), kSecret);
}

TEST_F(ProcessHooks, AttachingGoesBothWays) {
  label(reader);
  call(Symbol::fn_ptrace_access_check, writer, {reader.value, 1});  // PTRACE_MODE_READ: /proc/PID/stat and the like
  EXPECT_EQ(labels(writer), 0u);
  call(Symbol::fn_ptrace_access_check, writer, {reader.value, kAttach});
  EXPECT_EQ(labels(writer), kSecret);
  label(writer, kOther);
  call(Symbol::fn_ptrace_access_check, writer, {reader.value, kAttach | 8});
  EXPECT_EQ(labels(reader), kSecret | kOther);
  told();
  const Gva thread = guest.thread(reader, 101);
  call(Symbol::fn_ptrace_access_check, reader, {thread.value, kAttach});
  EXPECT_EQ(told(), Told{});
}

TEST_F(ProcessHooks, AccessToRemoteMemory) {
  label(reader);
  const uint64_t mm = guest.mm(reader).value;
  guest.set_system_call(writer, sys::read);  // `ps`
  call(Symbol::fn_access_remote_vm, writer, {mm, 0, 0, 8, 0});
  EXPECT_EQ(labels(writer), 0u);
  guest.set_system_call(writer, sys::ptrace);
  call(Symbol::fn_access_remote_vm, writer, {mm, 0, 0, 8, 0});
  EXPECT_EQ(labels(writer), kSecret);
  label(writer, kOther);
  call(Symbol::fn_access_remote_vm, writer, {mm, 0, 0, 8, 0});
  EXPECT_EQ(labels(reader), kSecret);
  call(Symbol::fn_access_remote_vm, writer, {mm, 0, 0, 8, kFollWrite});
  EXPECT_EQ(labels(reader), kSecret | kOther);
}

TEST_F(ProcessHooks, Kexec) {
  EXPECT_FALSE(reporter.replaced);
  call(Symbol::fn_machine_kexec, reader);
  EXPECT_TRUE(reporter.replaced);
}

TEST_F(ProcessHooks, FullTableIsAGap) {
  for (uint64_t i = 0; i < 5000; ++i) (void)state.add(kSecret, Carrier(CarrierKind::pipe, 0x1000 + i));
  label_file(secret);
  EXPECT_EQ(state.labels(inode(secret)), 0u);
  const Gva child = guest.task(300, "child");
  (void)state.erase(Carrier(CarrierKind::pipe, 0x1000));
  label(reader);
  call(Symbol::fn_wake_up_new_task, reader, {child.value});
  EXPECT_EQ(labels(child), 0u);
  EXPECT_EQ(gaps(), std::vector<std::string>{"the table of managed objects is full"});
}

// Each structure in turn is taken away. The operation then reports a gap, or does what it does with all of them
// readable.
#ifndef OBORO_TEST_FILTERED  // where the guest itself asks, its memory is readable to it
TEST_F(ProcessHooks, AnyUnreadableStructureIsAGapOrNotNeeded) {
  const Gva child = guest.task(300, "child");
  guest.share_mm(child, guest.mm(reader));
  const Gva mapped = guest.open(plain), vma = guest.vma(guest.mm(reader), mapped, guest::kVmShared | guest::kVmWrite);
  guest.set_vmas(guest.mm(reader), {vma});
  guest.set_mappers(guest.inode_of(plain), {vma});
  const Gva file = guest.open(secret);
  const Gva tree(guest.get(guest.mm(reader), Field::mm_mt_root) & ~uint64_t{0xff});
  const Gva signal(guest.get(reader, Field::task_signal));
  const Gva mapping(guest.get(guest.inode_of(plain), Field::inode_mapping));
  // Without the vma: one that cannot be read, in a tree that changes, counts as freed.
  const Gva needed[] = {reader,
                        child,
                        guest.mm(reader),
                        mapped,
                        tree,
                        signal,
                        mapping,
                        file,
                        guest.inode_of(plain),
                        disk.sb,
                        guest.inode_of(secret)};
  for (const Gva& object : needed) {
    label_file(secret);
    guest.memory.hide(Gpa(object.value - fake::kDirectMap.value));
    read(reader, file);
    guest.memory.show_all();
    EXPECT_FALSE(gaps().empty()) << "object " << &object - needed;
    told();
    for (const Gva task : {reader, child}) (void)state.erase(process(task));
    (void)state.erase(inode(plain));
    (void)state.erase(identity(plain));
  }
  read(reader, file);
  EXPECT_EQ(told().size(), 3u);
}
#endif

}  // namespace
}  // namespace oboro::hooks
