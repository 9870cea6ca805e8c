#include "guest/task.h"

#include <vector>

#include "arch/arch.h"
#include "guest/file.h"

namespace oboro::guest {
namespace {

constexpr size_t kCommLength = 16;  // TASK_COMM_LEN
constexpr size_t kMaxCgroupDepth = 64;

}  // namespace

std::string Task::comm(Reader& r) const {
  char name[kCommLength];
  const uint32_t offset = r.profile()[Field::task_comm];
  if (!r.bytes(at + offset, name, sizeof name)) return {};
  return {name, strnlen(name, sizeof name)};
}

std::string Task::exe(Reader& r) const {
  const Gva address_space = mm(r);
  if (!address_space) return {};
  const File file{r.pointer(address_space, Field::mm_exe_file)};
  return file.at ? file.path(r) : std::string();
}

std::string Task::cgroup(Reader& r) const {
  const Profile& p = r.profile();
  if (!p.has(Field::task_cgroups) || !p.has(Field::css_set_dfl_cgrp) || !p.has(Field::cgroup_kn) ||
      !p.has(Field::kernfs_node_name) || !p.has(Field::kernfs_node_parent))
    return {};
  const Gva group = r.pointer(r.pointer(at, Field::task_cgroups), Field::css_set_dfl_cgrp);
  Gva node = group ? r.pointer(group, Field::cgroup_kn) : Gva();
  std::vector<std::string> names;
  for (size_t depth = 0; node && depth < kMaxCgroupDepth; ++depth) {
    const Gva parent = r.pointer(node, Field::kernfs_node_parent);
    if (!parent) break;  // the root has no name of its own
    names.push_back(r.string(r.pointer(node, Field::kernfs_node_name), 255));
    node = parent;
  }
  std::string path;
  for (auto name = names.rbegin(); name != names.rend(); ++name) path += "/" + *name;
  return path.empty() ? "/" : path;
}

TaskFinder::TaskFinder(const Kernel& kernel) {
  const Profile& p = kernel.profile();
  if (p.has(Symbol::pcpu_hot) && p.has(Field::pcpu_hot_current_task)) {
    current_offset_ = kernel.symbol(Symbol::pcpu_hot).value + p[Field::pcpu_hot_current_task];
    if (p.has(Field::pcpu_hot_top_of_stack))
      top_of_stack_offset_ = kernel.symbol(Symbol::pcpu_hot).value + p[Field::pcpu_hot_top_of_stack];
  } else if (p.has(Symbol::current_task)) {
    current_offset_ = kernel.symbol(Symbol::current_task).value;
    if (p.has(Symbol::cpu_current_top_of_stack))
      top_of_stack_offset_ = kernel.symbol(Symbol::cpu_current_top_of_stack).value;
  }
  regs_in_stack_ = arch::kKernelStackSize - p[Field::user_registers_size];
}

void TaskFinder::learn_stack(Reader& r, uint64_t per_cpu, Task task) {
  stack_known_ = true;  // or it is as well known as it gets
  if (!top_of_stack_offset_) return;
  const uint64_t stack = r.get<uint64_t>(task.at, Field::task_stack);
  const uint64_t top = r.at<uint64_t>(Gva(per_cpu + top_of_stack_offset_));
  const uint64_t size = r.profile()[Field::user_registers_size];
  if (top > stack + size && top - stack <= arch::kKernelStackSize) regs_in_stack_ = top - stack - size;
}

uint64_t TaskFinder::system_call(Reader& r, Task task) const {
  const Gva stack = r.pointer(task.at, Field::task_stack);
  if (!stack) return UINT64_MAX;
  return r.get<uint64_t>(stack + regs_in_stack_.load(std::memory_order_relaxed), Field::user_registers_number);
}

}  // namespace oboro::guest
