// A call of a kernel function, seen at the function's first instruction: System V calling convention of x86-64. The
// return address is on the stack, where the stack pointer points.
#pragma once

#include <cstddef>
#include <cstdint>

#include "arch/x86_64/registers.h"
#include "base/address.h"

namespace oboro::arch {

inline constexpr Reg kArguments[] = {Reg::rdi, Reg::rsi, Reg::rdx, Reg::rcx, Reg::r8, Reg::r9};
inline constexpr size_t kArgumentCount = std::size(kArguments);

template <typename Cpu>
Gva program_counter(Cpu& cpu) {
  return Gva(cpu.reg(Reg::rip));
}
template <typename Cpu>
void set_program_counter(Cpu& cpu, Gva at) {  // of one that is made up
  cpu.set(Reg::rip, at.value);
}

// The caller's frame, by which a vCPU can return to it, or run the function as it was called, from anywhere.
struct CallFrame {
  Gva stack;  // the stack pointer at the function's first instruction; what is below is free
};

template <typename Cpu>
CallFrame call_frame(Cpu& cpu) {
  return {Gva(cpu.reg(Reg::rsp))};
}

template <typename Cpu>
uint64_t argument(Cpu& cpu, size_t index) {
  return cpu.reg(kArguments[index]);
}
template <typename Cpu>
void set_argument(Cpu& cpu, size_t index, uint64_t value) {
  cpu.set(kArguments[index], value);
}

// The result of a function, seen at the place to which it returns; or set for the caller.
template <typename Cpu>
uint64_t result(Cpu& cpu) {
  return cpu.reg(Reg::rax);
}
template <typename Cpu>
void set_result(Cpu& cpu, uint64_t value) {
  cpu.set(Reg::rax, value);
}

// Puts the vCPU in this frame, whatever it did before; or takes it out of the frame, as after a return.
template <typename Cpu>
void use_frame(Cpu& cpu, const CallFrame& frame) {
  cpu.set(Reg::rsp, frame.stack.value);
}
template <typename Cpu>
void leave_frame(Cpu& cpu, const CallFrame& frame) {
  cpu.set(Reg::rsp, frame.stack.value + sizeof(uint64_t));
}
// Whether the vCPU is out of the frame, as far as registers other than the program counter tell.
template <typename Cpu>
bool has_returned(Cpu& cpu, const CallFrame& frame) {
  return cpu.reg(Reg::rsp) == frame.stack.value + sizeof(uint64_t);
}

// False: the word cannot be read.
template <typename Cpu>
bool return_address(Cpu& cpu, const CallFrame& frame, Gva& out) {
  uint64_t word = 0;
  if (!cpu.read_word(frame.stack, word)) return false;
  out = Gva(word);
  return true;
}

// The function that was called with this frame returns at once. The program counter is set last: cpu.go_to() need not
// return. False, and nothing has changed: the place to return to is not known.
template <typename Cpu>
bool return_from(Cpu& cpu, const CallFrame& frame, uint64_t value) {
  Gva target;
  if (!return_address(cpu, frame, target)) return false;
  set_result(cpu, value);
  leave_frame(cpu, frame);
  cpu.go_to(target);
  return true;
}

// Makes the frame for a call that returns to `back`, with its stack pointer there. put(Gva, uint64_t): writes a word of
// the kernel's memory.
template <typename Put>
CallFrame make_frame(Gva stack, Gva back, Put&& put) {
  put(stack, back.value);
  return {stack};
}

}  // namespace oboro::arch
