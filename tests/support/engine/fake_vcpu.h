// A vCPU for tests: registers that the test sets.
#pragma once

#include <array>
#include <initializer_list>

#include "base/address.h"
#include "engine/engine.h"

namespace oboro::fake {

class FakeVcpu final : public engine::Vcpu {
 public:
  explicit FakeVcpu(unsigned index = 0) : index_(index) {}

  unsigned index() const override { return index_; }
  uint64_t reg(arch::Reg reg) override { return registers_[static_cast<size_t>(reg)]; }

  void set(arch::Reg reg, uint64_t value) { registers_[static_cast<size_t>(reg)] = value; }
  // The arguments of the function at whose start the vCPU stands; those not given are zero.
  void set_arguments(std::initializer_list<uint64_t> values) {
    for (size_t i = 0; i < arch::kArgumentCount; ++i) arch::set_argument(*this, i, 0);
    size_t i = 0;
    for (const uint64_t value : values) arch::set_argument(*this, i++, value);
  }

 private:
  unsigned index_;
  std::array<uint64_t, arch::kRegisterCount> registers_{};
};

}  // namespace oboro::fake
