// Placement of hooks: an engine makes a vCPU stop at the first instruction of kernel functions, and calls the tracer
// then.
//
// Implemented by engine/kvm/placement.h (jumps and stubs in the guest's code), by tracer/entry/tcg (callbacks in
// translated code), and by tests/support/engine/fake_engine.h. An engine in another process can implement it, too: a
// hook is an address and a number of the tracer's, and a kernel is the place of its image.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "arch/arch.h"
#include "base/address.h"
#include "engine/filter.h"

namespace oboro::engine {

struct Hook {
  uint64_t address;  // of the function's first instruction
  const void* what;  // the tracer's; the engine gives it back when a vCPU stands at the hook
  bool may_steer;    // the handler's answer is to be applied: the engine must be able to set registers
  bool filter_only;  // of use only for an engine that filters
  bool essential;    // one of the at most four hooks to choose where no more can be watched
};

// Where the kernel is, and the page tables that it uses now.
struct KernelImage {
  Gva base;
  Gpa start;  // contiguous from there
  uint64_t size = 0;
  arch::PageTables tables;
};

// What is to be placed. The hooks stay where they are until take_out(); all else is valid only during this call.
struct Wanted {
  std::span<const Hook> hooks;
  KernelImage image;
  // For an engine that decides inside the guest (engine/filter.h). nullopt: calls of this kernel, or of this hook,
  // cannot be filtered.
  std::optional<FilterLayout> filter_layout;
  std::function<std::optional<FilterProgram>(const Hook&)> filter_program;
};

struct Placed {
  std::vector<const Hook*>
      missing;                  // could not be placed. Without those that have filter_only, where nothing is filtered
  Filter* filter = nullptr;     // decides inside the guest, and has to be told of changes until take_out()
  bool essential_only = false;  // only the essential hooks are placed
  std::string not_filtered;     // why nothing is decided inside the guest, although the engine could; empty if it is
};

// Threads: called while the machine is stopped (engine/stopping.h), on any thread that carries out the change.
class Placement {
 public:
  virtual ~Placement() = default;
  // Why no hooks can be placed in this kernel now; null: nothing is against it.
  virtual const char* hindered(const KernelImage&) { return nullptr; }
  // Places the hooks. None is in place before.
  virtual Placed place(const Wanted& wanted) = 0;
  // What becomes of the kernel that has the hooks: it goes on without them; it hands over to another kernel and runs no
  // function of its own but the last; its memory may hold anything by now, and must not be written.
  enum class Code { goes_on, ends, is_gone };
  // Takes all hooks out. There may be none.
  virtual void take_out(Code code) = 0;
};

}  // namespace oboro::engine
