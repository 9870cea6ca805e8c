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
  uint64_t reg(x86::Reg reg) override { return registers_[static_cast<size_t>(reg)]; }

  void set(x86::Reg reg, uint64_t value) { registers_[static_cast<size_t>(reg)] = value; }
  // The arguments of the function at whose start the vCPU stands; those not given are zero.
  void set_arguments(std::initializer_list<uint64_t> values) {
    for (const x86::Reg reg : x86::kArguments) set(reg, 0);
    size_t i = 0;
    for (const uint64_t value : values) set(x86::kArguments[i++], value);
  }

 private:
  unsigned index_;
  std::array<uint64_t, static_cast<size_t>(x86::Reg::count)> registers_{};
};

}  // namespace oboro::fake
