// What the functions of src/arch and engine::apply() work on, for their own tests: registers and words of memory by
// address.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "arch/arch.h"
#include "base/address.h"

namespace oboro::fake {

struct FakeRegisters {
  uint64_t reg(arch::Reg reg) { return registers[reg]; }
  void set(arch::Reg reg, uint64_t value) { registers[reg] = value; }
  bool read_word(Gva where, uint64_t& out) {
    const auto found = memory.find(where.value);
    if (found == memory.end()) return false;
    out = found->second;
    return true;
  }
  void go_to(Gva where) { at = where.value; }

  std::map<arch::Reg, uint64_t> registers;
  std::map<uint64_t, uint64_t> memory;
  std::optional<uint64_t> at;  // where it was sent; nothing: it goes on where it is
};

}  // namespace oboro::fake
