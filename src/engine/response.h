// The one answer that a handler gives to the vCPU at its hook, and how an engine carries it out.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <variant>

#include "arch/arch.h"
#include "base/address.h"

namespace oboro::engine {

// The hooked function runs.
struct GoOn {};

// The hooked function returns that at once, without running.
struct Return {
  int64_t value = 0;
  // With which it was called; none: the one that the vCPU is in. (A vCPU that comes back from a Call is in another.)
  std::optional<arch::CallFrame> frame;
};

// The vCPU goes on at another function of the guest's kernel, which returns to where `frame` says.
struct Call {
  static constexpr size_t kMostArguments = 4;
  Gva function;
  arch::CallFrame frame;
  std::array<uint64_t, kMostArguments> arguments{};
  unsigned argument_count = 0;
};

// The hooked function runs after all, as it was called: after a Call, the registers are not what they were.
struct RunAs {
  arch::CallFrame frame;
  std::array<uint64_t, Call::kMostArguments> arguments{};
};

using Response = std::variant<GoOn, Return, Call, RunAs>;
// TCG leaves the callback by longjmp when it is given another program counter.
static_assert(std::is_trivially_destructible_v<Response> && std::is_trivially_copyable_v<Response>);

// Carries the answer out. Cpu is the vCPU at its hook, as an engine that may change it offers it:
//   uint64_t reg(arch::Reg);
//   void set(arch::Reg, uint64_t);          one that src/arch sets: of arguments, result or frame
//   bool read_word(Gva, uint64_t& out);     of the guest's kernel memory
//   void go_to(Gva);                        the program counter. Called last; it need not return
// False: the function runs, because where it returns to cannot be read.
template <typename Cpu>
bool apply(const Response& response, Cpu& cpu) {
  const auto set_arguments = [&cpu](const auto& arguments, size_t count) {
    for (size_t i = 0; i < count && i < arguments.size(); ++i) arch::set_argument(cpu, i, arguments[i]);
  };
  if (std::holds_alternative<GoOn>(response)) return true;
  if (const auto* back = std::get_if<Return>(&response))
    return arch::return_from(cpu, back->frame ? *back->frame : arch::call_frame(cpu),
                             static_cast<uint64_t>(back->value));
  if (const auto* call = std::get_if<Call>(&response)) {
    set_arguments(call->arguments, call->argument_count);
    arch::use_frame(cpu, call->frame);
    cpu.go_to(call->function);
  } else if (const auto* run = std::get_if<RunAs>(&response)) {
    set_arguments(run->arguments, run->arguments.size());
    arch::use_frame(cpu, run->frame);
  }
  return true;
}

}  // namespace oboro::engine
