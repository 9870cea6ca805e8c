#include "engine/tcg/vcpu.h"

#include <algorithm>
#include <cstring>

namespace oboro::engine::tcg {
bool TcgVcpu::init(unsigned index) {
  index_ = index;
  if (!buffer_) buffer_ = g_byte_array_new();
  handles_.fill(nullptr);
  GArray* registers = qemu_plugin_get_registers();
  for (unsigned i = 0; i < registers->len; ++i) {
    qemu_plugin_reg_descriptor descriptor;
    std::memcpy(&descriptor, registers->data + i * sizeof descriptor, sizeof descriptor);
    for (size_t j = 0; j < std::size(arch::kRegisterNames); ++j)
      if (!handles_[j] && arch::kRegisterNames[j] == descriptor.name) handles_[j] = descriptor.handle;
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

bool TcgVcpu::read_word(Gva at, uint64_t& out) {
  g_byte_array_set_size(buffer_, 0);
  if (!qemu_plugin_read_memory_vaddr(at.value, buffer_, sizeof out) || buffer_->len < sizeof out) return false;
  std::memcpy(&out, buffer_->data, sizeof out);
  return true;
}

void TcgVcpu::set(arch::Reg reg, uint64_t value) {
  g_byte_array_set_size(buffer_, sizeof value);
  std::memcpy(buffer_->data, &value, sizeof value);
  qemu_plugin_write_register(handles_[static_cast<size_t>(reg)], buffer_);
}

}  // namespace oboro::engine::tcg
