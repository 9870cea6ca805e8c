#include "tests/support/guest/fake_guest.h"

namespace oboro::fake {
namespace {

constexpr uint32_t kKernelThread = 0x00200000;  // PF_KTHREAD
constexpr uint64_t kNoWait = 39;                // getpid: not receiving

}  // namespace

Gva FakeGuest::make_task(uint32_t tid, std::string_view comm) {
  const Gva task = allocate();
  set(task, Field::task_pid, tid);
  set(task, Field::task_flags, uint32_t{0});
  set(task, Field::task_start_time, uint64_t{tid} * 1000);
  char name[16] = {};
  comm.copy(name, sizeof name - 1);
  write(task + profile[Field::task_comm], name, sizeof name);
  set(task, Field::task_stack, allocate(kThreadSize));
  set_system_call(task, kNoWait);
  if (!root_cgroup_) {
    const Gva group = allocate();
    set(group, Field::cgroup_kn, allocate());
    root_cgroup_ = allocate();
    set(root_cgroup_, Field::css_set_dfl_cgrp, group);
  }
  set(task, Field::task_cgroups, root_cgroup_);
  return task;
}

Gva FakeGuest::task(uint32_t tgid, std::string_view comm) {
  const Gva task = make_task(tgid, comm);
  set(task, Field::task_tgid, tgid);
  set(task, Field::task_group_leader, task);
  append(symbol(Symbol::init_task) + profile[Field::task_tasks], task + profile[Field::task_tasks]);

  const Gva signal = allocate();
  set(signal, Field::signal_nr_threads, uint32_t{1});
  set(task, Field::task_signal, signal);
  append(signal + profile[Field::signal_thread_head], Gva());
  append(signal + profile[Field::signal_thread_head], task + profile[Field::task_thread_node]);
  const Gva mm = allocate();
  set(mm, Field::mm_users, uint32_t{1});
  set(mm, Field::mm_owner, task);
  set(task, Field::task_mm, mm);
  const Gva files = allocate(), table = allocate();
  set(files, Field::files_struct_fdt, table);
  set(table, Field::fdtable_max_fds, kDescriptors);
  set(table, Field::fdtable_fd, allocate(kDescriptors * 8));
  set(task, Field::task_files, files);
  return task;
}

Gva FakeGuest::thread(Gva leader, uint32_t tid) {
  const Gva task = make_task(tid, "thread");
  set(task, Field::task_tgid, static_cast<uint32_t>(get(leader, Field::task_tgid)));
  for (const Field shared : {Field::task_signal, Field::task_mm, Field::task_files})
    set(task, shared, get(leader, shared));
  set(task, Field::task_group_leader, leader);
  append(Gva(get(leader, Field::task_signal)) + profile[Field::signal_thread_head],
         task + profile[Field::task_thread_node]);
  const Gva signal(get(leader, Field::task_signal));
  set(signal, Field::signal_nr_threads, static_cast<uint32_t>(get(signal, Field::signal_nr_threads)) + 1);
  set(mm(leader), Field::mm_users, static_cast<uint32_t>(get(mm(leader), Field::mm_users)) + 1);
  return task;
}

Gva FakeGuest::kernel_thread(uint32_t pid, std::string_view comm) {
  const Gva task = this->task(pid, comm);
  set(task, Field::task_flags, kKernelThread);
  set(task, Field::task_mm, Gva());
  return task;
}

void FakeGuest::set_root(Gva task, Gva mount, Gva dentry) {
  const Gva fs = allocate();
  set(fs + profile[Field::fs_struct_root], Field::path_mnt, mount + profile[Field::mount_mnt]);
  set(fs + profile[Field::fs_struct_root], Field::path_dentry, dentry);
  set(task, Field::task_fs, fs);
}

void FakeGuest::share_mm(Gva task, Gva mm) {
  set(task, Field::task_mm, mm);
  set(mm, Field::mm_users, static_cast<uint32_t>(get(mm, Field::mm_users)) + 1);
}

void FakeGuest::set_system_call(Gva task, uint64_t number) {
  const Gva registers = Gva(get(task, Field::task_stack)) + (kThreadSize - profile[Field::pt_regs_size]);
  set(registers, Field::pt_regs_orig_ax, number);
}

void FakeGuest::set_file(Gva task, uint32_t descriptor, Gva file) {
  const Gva table(get(Gva(get(task, Field::task_files)), Field::files_struct_fdt));
  write(Gva(get(table, Field::fdtable_fd)) + descriptor * 8, file);
}

void FakeGuest::run(FakeVcpu& vcpu, Gva task) {
  // Each vCPU has per-CPU memory of its own.
  const Gva base = per_cpu_ + vcpu.index() * 64;
  write(base + kCurrentTask, task);
  write(base + kTopOfStack, get(task, Field::task_stack) + kThreadSize);
  vcpu.set(arch::Reg::gs_base, base.value);
}

}  // namespace oboro::fake
