// The few x86-64 instructions that filter stubs are made of.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace oboro::arch {

class Assembler {
 public:
  enum Register : uint8_t { rax = 0, rcx = 1, rdx = 2, rsi = 6, rdi = 7, r8 = 8, r9 = 9, r10 = 10, r11 = 11 };
  enum Condition : uint8_t { bit_set = 2, bit_clear = 3, equal = 4, not_equal = 5 };
  using Label = size_t;
  // At the first instruction of a function: its arguments, and the registers that the caller does not count on.
  static constexpr Register kArguments[] = {rdi, rsi, rdx, rcx, r8, r9};
  static constexpr Register kFree[] = {rax, r10, r11};

  // Whether an instruction can have this as an absolute address or an immediate: 32 bits, extended with their sign.
  static bool is_short(uint64_t value) {
    return static_cast<uint64_t>(static_cast<int64_t>(static_cast<int32_t>(value))) == value;
  }

  std::span<const uint8_t> code() const { return code_; }
  size_t size() const { return code_.size(); }

  void mov(Register to, Register from) { emit({rex(from, to), 0x89, modrm(3, from, to)}); }
  void mov_immediate(Register to, uint64_t value) {
    emit({static_cast<uint8_t>(0x48 | (to >> 3)), static_cast<uint8_t>(0xb8 | (to & 7))});
    word64(value);
  }
  // to = 8, 4 or 2 bytes at base + offset, the shorter ones extended with zeros
  void load64(Register to, Register base, uint32_t offset) { emit({rex(to, base), 0x8b}), memory(to, base, offset); }
  void load32(Register to, Register base, uint32_t offset) {
    emit({static_cast<uint8_t>(0x40 | (to >> 3) << 2 | base >> 3), 0x8b}), memory(to, base, offset);
  }
  void load16(Register to, Register base, uint32_t offset) {
    emit({rex(to, base), 0x0f, 0xb7}), memory(to, base, offset);
  }
  void load32_absolute(Register to, uint64_t address) {
    emit({static_cast<uint8_t>(0x40 | (to >> 3) << 2), 0x8b}), absolute(to, address);
  }
  // to = the 8 bytes of the per-CPU variable at gs:offset
  void load_per_cpu(Register to, uint64_t offset) { emit({0x65, rex(to, rax), 0x8b}), absolute(to, offset); }
  void lea(Register to, Register base, uint32_t offset) { emit({rex(to, base), 0x8d}), memory(to, base, offset); }
  // A barrier, too.
  void exchange(Register with, Register base, uint32_t offset) {
    emit({rex(with, base), 0x87}), memory(with, base, offset);
  }
  void multiply(Register to, Register by) { emit({rex(to, by), 0x0f, 0xaf, modrm(3, to, by)}); }
  void add(Register to, Register from) { emit({rex(from, to), 0x01, modrm(3, from, to)}); }
  void xor_(Register to, Register from) { emit({rex(from, to), 0x31, modrm(3, from, to)}); }
  void or_(Register to, Register from) { emit({rex(from, to), 0x09, modrm(3, from, to)}); }
  void and_immediate(Register to, uint32_t value) { group1(4, to, value); }
  // to &= the 4 bytes at `address`, extended with zeros
  void and_absolute(Register to, uint64_t address) {
    emit({static_cast<uint8_t>(0x40 | (to >> 3) << 2), 0x23}), absolute(to, address);
  }
  void compare_immediate(Register with, uint32_t value) { group1(7, with, value); }
  void compare64(Register base, uint32_t offset, Register with) {
    emit({rex(with, base), 0x39}), memory(with, base, offset);
  }
  void compare32(Register base, uint32_t offset, Register with) {
    emit({static_cast<uint8_t>(0x40 | (with >> 3) << 2 | base >> 3), 0x39}), memory(with, base, offset);
  }
  void test(Register with) { emit({rex(with, with), 0x85, modrm(3, with, with)}); }
  void shift_right(Register to, uint8_t bits) { emit({rex(rax, to), 0xc1, modrm(3, 5, to), bits}); }
  void shift_left(Register to, uint8_t bits) { emit({rex(rax, to), 0xc1, modrm(3, 4, to), bits}); }
  // For bit_set and bit_clear: bit number `bit` of the bit string at `address`.
  void bit_test_absolute(uint64_t address, Register bit) { emit({rex(bit, rax), 0x0f, 0xa3}), absolute(bit, address); }
  // Stops the vCPU there: a write to a port that no device has.
  void trap(uint8_t port) { emit({0xe6, port}); }

  Label label() {
    labels_.push_back(SIZE_MAX);
    return labels_.size() - 1;
  }
  void bind(Label label) { labels_[label] = code_.size(); }
  void jump(Label label) { emit({0xe9}), reference(label); }
  void jump(Condition condition, Label label) {
    emit({0x0f, static_cast<uint8_t>(0x80 | condition)}), reference(label);
  }
  // Jumps to an absolute address, from code that will lie at `base`.
  void jump_to(uint64_t target, uint64_t base) {
    emit({0xe9});
    word32(static_cast<uint32_t>(target - (base + code_.size() + 4)));
  }
  // To be called once all labels are bound.
  void link() {
    for (const Reference& reference : references_) {
      const auto distance = static_cast<uint32_t>(labels_[reference.label] - (reference.at + 4));
      std::memcpy(code_.data() + reference.at, &distance, sizeof distance);
    }
    references_.clear();
  }

 private:
  struct Reference {
    size_t at;
    Label label;
  };
  static uint8_t rex(Register reg, Register base) { return static_cast<uint8_t>(0x48 | (reg >> 3) << 2 | base >> 3); }
  static uint8_t modrm(unsigned mode, unsigned reg, unsigned base) {
    return static_cast<uint8_t>(mode << 6 | (reg & 7) << 3 | (base & 7));
  }
  void emit(std::initializer_list<uint8_t> bytes) { code_.insert(code_.end(), bytes); }
  void word32(uint32_t value) {
    for (int i = 0; i < 4; ++i) code_.push_back(static_cast<uint8_t>(value >> (8 * i)));
  }
  void word64(uint64_t value) { word32(static_cast<uint32_t>(value)), word32(static_cast<uint32_t>(value >> 32)); }
  // base is neither rsp nor r12, which would need more bytes.
  void memory(Register reg, Register base, uint32_t offset) { emit({modrm(2, reg, base)}), word32(offset); }
  void absolute(Register reg, uint64_t address) {
    emit({modrm(0, reg, 4), 0x25}), word32(static_cast<uint32_t>(address));
  }
  void group1(unsigned operation, Register to, uint32_t value) {
    emit({rex(rax, to), 0x81, modrm(3, operation, to)}), word32(value);
  }
  void reference(Label label) {
    references_.push_back({code_.size(), label});
    word32(0);
  }

  std::vector<uint8_t> code_;
  std::vector<size_t> labels_;
  std::vector<Reference> references_;
};

}  // namespace oboro::arch
