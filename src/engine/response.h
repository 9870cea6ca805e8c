// The one answer that a handler gives to the vCPU at its hook, and how an engine carries out that answer.
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

// The vCPU goes on at another function of the guest's kernel. That function returns to where `frame` says.
struct Call {
  static constexpr size_t kMostArguments = 4;
  Gva function;
  arch::CallFrame frame;
  std::array<uint64_t, kMostArguments> arguments{};
  unsigned argument_count = 0;
};

// The hooked function runs after all, as it was called. This restores the registers, which are not what they were after
// a Call.
struct RunAs {
  arch::CallFrame frame;
  std::array<uint64_t, Call::kMostArguments> arguments{};
};

// The hooked function returns this value at once, without running.
struct Return {
  int64_t value = 0;
  // How the function was called; none: as the vCPU is now. (A vCPU that comes back from a Call is in another frame,
  // with other arguments.)
  std::optional<RunAs> call;
};

using Response = std::variant<GoOn, Return, Call, RunAs>;
// TCG leaves the callback by longjmp when the program counter is set.
static_assert(std::is_trivially_destructible_v<Response> && std::is_trivially_copyable_v<Response>);

// Carries out the answer. Cpu is the vCPU at its hook, with what an engine needs to change it:
//   uint64_t reg(arch::Reg);
//   void set(arch::Reg, uint64_t);          one that src/arch sets: of arguments, result or frame
//   bool read_word(Gva, uint64_t& out);     of the guest's kernel memory
//   void go_to(Gva);                        the program counter. Called last; it need not return
// False: the function runs, as it was called, because the place to which it returns cannot be read.
template <typename Cpu>
bool apply(const Response& response, Cpu& cpu) {
  const auto set_arguments = [&cpu](const auto& arguments, size_t count) {
    for (size_t i = 0; i < count && i < arguments.size(); ++i) arch::set_argument(cpu, i, arguments[i]);
  };
  if (std::holds_alternative<GoOn>(response)) return true;
  const auto run_as = [&](const RunAs& run) {
    set_arguments(run.arguments, run.arguments.size());
    arch::use_frame(cpu, run.frame);
  };
  if (const auto* back = std::get_if<Return>(&response)) {
    const arch::CallFrame frame = back->call ? back->call->frame : arch::call_frame(cpu);
    if (arch::return_from(cpu, frame, static_cast<uint64_t>(back->value))) return true;
    if (back->call) run_as(*back->call);
    return false;
  }
  if (const auto* call = std::get_if<Call>(&response)) {
    set_arguments(call->arguments, call->argument_count);
    arch::use_frame(cpu, call->frame);
    cpu.go_to(call->function);
  } else if (const auto* run = std::get_if<RunAs>(&response)) {
    run_as(*run);
  }
  return true;
}

}  // namespace oboro::engine
