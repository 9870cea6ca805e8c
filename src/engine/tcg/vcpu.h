// A vCPU of QEMU's TCG, read through the plugin interface.
#pragma once

#include <array>

#include "engine/engine.h"
#include "engine/tcg/plugin_api.h"

namespace oboro::engine::tcg {

class TcgVcpu final : public Vcpu {
 public:
  // To be called on the vCPU's own thread, from QEMU's vCPU-init callback. False if there is no register of some name.
  bool init(unsigned index);

  unsigned index() const override { return index_; }
  uint64_t reg(arch::Reg reg) override;
  // For apply() (engine/response.h), in a callback that may write registers.
  void set(arch::Reg reg, uint64_t value);
  bool read_word(Gva at, uint64_t& out);
  [[noreturn]] void go_to(Gva at) { qemu_plugin_set_pc(at.value); }

 private:
  unsigned index_ = 0;
  std::array<qemu_plugin_register*, arch::kRegisterCount> handles_{};
  GByteArray* buffer_ = nullptr;
};

}  // namespace oboro::engine::tcg
