// task_struct: the tasks of the guest.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "guest/kernel.h"

namespace oboro::guest {

struct Task {
  Gva at;

  uint32_t tgid(Reader& r) const { return r.get<uint32_t>(at, Field::task_tgid); }
  uint32_t pid(Reader& r) const { return r.get<uint32_t>(at, Field::task_pid); }
  bool is_kernel_thread(Reader& r) const { return r.get<uint32_t>(at, Field::task_flags) & 0x00200000; }  // PF_KTHREAD
  bool is_dumping_core(Reader& r) const { return r.get<uint32_t>(at, Field::task_flags) & 0x00000200; }   // PF_DUMPCORE
  Gva mm(Reader& r) const { return r.pointer(at, Field::task_mm); }
  Task leader(Reader& r) const { return {r.pointer(at, Field::task_group_leader)}; }
  uint64_t start_time(Reader& r) const { return leader(r).start_time_self(r); }
  uint64_t start_time_self(Reader& r) const { return r.get<uint64_t>(at, Field::task_start_time); }
  std::string comm(Reader& r) const;
  std::string exe(Reader& r) const;     // true path of mm->exe_file; empty for kernel threads
  std::string cgroup(Reader& r) const;  // "/system.slice/ssh.service"; empty where unknown
};

// Finds the running task and its system call on a vCPU in kernel mode. per_cpu: arch::per_cpu_base() of that vCPU.
class TaskFinder {
 public:
  explicit TaskFinder(const Kernel& kernel);
  Task current(Reader& r, uint64_t per_cpu) const { return {Gva(r.at<uint64_t>(Gva(per_cpu + current_offset_)))}; }
  // The number of the system call that the task is in, or was in last. It is read from the user registers at the top of
  // the task's kernel stack. UINT64_MAX if there is none.
  uint64_t system_call(Reader& r, Task task) const;
  // To be called with the running task until stack_known(): finds where the user registers lie. (x86 kernels with FRED
  // leave room at the top of the stack.) Threads: any; all find the same.
  void learn_stack(Reader& r, uint64_t per_cpu, Task task);
  bool stack_known() const { return stack_known_.load(std::memory_order_relaxed); }
  bool usable() const { return current_offset_ != 0; }
  uint64_t current_offset() const { return current_offset_; }  // of the running task's pointer, from the per-CPU base

 private:
  uint64_t current_offset_ = 0;
  uint64_t top_of_stack_offset_ = 0;
  std::atomic<uint64_t> regs_in_stack_{0};
  std::atomic<bool> stack_known_{false};
};

// Calls fn(Task) for every process (thread-group leader) from init_task on, at most `limit`. fn returns false to stop.
// False if the list did not end within the limit, or could not be read.
template <typename Fn>
bool for_each_process(Reader& r, size_t limit, Fn&& fn) {
  const uint32_t link = r.profile()[Field::task_tasks];
  const Gva head = r.kernel().symbol(Symbol::init_task);
  Gva task = head;
  for (size_t i = 0; i < limit; ++i) {
    const Gva next = Gva(r.at<uint64_t>(task + link));
    if (!next) return false;
    task = next - link;
    if (task == head) return true;
    if (!fn(Task{task})) return true;
  }
  return false;
}

// The same for every thread of every process, at most `limit` processes and threads of each.
template <typename Fn>
bool for_each_thread(Reader& r, size_t limit, Fn&& fn) {
  const uint32_t link = r.profile()[Field::task_thread_node];
  bool complete = true;
  return for_each_process(r, limit,
                          [&](Task leader) {
                            const Gva signal = r.pointer(leader.at, Field::task_signal);
                            const Gva head = signal + r.profile()[Field::signal_thread_head];
                            Gva node = Gva(r.at<uint64_t>(head));
                            for (size_t i = 0; node && node != head; ++i, node = Gva(r.at<uint64_t>(node))) {
                              if (i == limit) return complete = false;
                              if (!fn(Task{node - link})) return false;
                            }
                            return true;
                          }) &&
         complete;
}

}  // namespace oboro::guest
