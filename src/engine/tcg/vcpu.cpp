#include "engine/tcg/vcpu.h"

#include <algorithm>
#include <cstring>
#include <string_view>

namespace oboro::engine::tcg {
namespace {

constexpr std::string_view kNames[] = {"rax", "rdi", "rsi", "rdx",     "rcx", "r8",  "r9",
                                       "rsp", "rip", "cs",  "gs_base", "cr0", "cr3", "cr4"};
static_assert(std::size(kNames) == static_cast<size_t>(arch::Reg::count));

}  // namespace

bool TcgVcpu::init(unsigned index) {
  index_ = index;
  if (!buffer_) buffer_ = g_byte_array_new();
  handles_.fill(nullptr);
  GArray* registers = qemu_plugin_get_registers();
  for (unsigned i = 0; i < registers->len; ++i) {
    qemu_plugin_reg_descriptor descriptor;
    std::memcpy(&descriptor, registers->data + i * sizeof descriptor, sizeof descriptor);
    for (size_t j = 0; j < std::size(kNames); ++j)
      if (!handles_[j] && kNames[j] == descriptor.name) handles_[j] = descriptor.handle;
  }
  g_array_free(registers, 1);
  return std::all_of(handles_.begin(), handles_.end(), [](auto* handle) { return handle != nullptr; });
}

uint64_t TcgVcpu::reg(arch::Reg reg) {
  g_byte_array_set_size(buffer_, 0);
  if (!qemu_plugin_read_register(handles_[static_cast<size_t>(reg)], buffer_)) return 0;
  uint64_t value = 0;
  std::memcpy(&value, buffer_->data, std::min<size_t>(buffer_->len, sizeof value));
  return value;
}

void TcgVcpu::return_from_function(int64_t result) {
  const uint64_t stack = reg(arch::Reg::rsp);
  uint64_t target = 0;
  g_byte_array_set_size(buffer_, 0);
  if (qemu_plugin_read_memory_vaddr(stack, buffer_, sizeof target)) std::memcpy(&target, buffer_->data, sizeof target);
  write(arch::Reg::rax, static_cast<uint64_t>(result));
  write(arch::Reg::rsp, stack + sizeof target);
  qemu_plugin_set_pc(target);
}

void TcgVcpu::detour(const Detour& to) {
  for (size_t i = 0; i < to.argument_count; ++i) write(arch::kArguments[i], to.arguments[i]);
  if (to.rax) write(arch::Reg::rax, *to.rax);
  write(arch::Reg::rsp, to.rsp);
  if (to.rip) qemu_plugin_set_pc(to.rip);
}

void TcgVcpu::write(arch::Reg reg, uint64_t value) {
  g_byte_array_set_size(buffer_, sizeof value);
  std::memcpy(buffer_->data, &value, sizeof value);
  qemu_plugin_write_register(handles_[static_cast<size_t>(reg)], buffer_);
}

}  // namespace oboro::engine::tcg
