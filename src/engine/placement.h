// Placement of hooks: an engine makes a vCPU stop at the first instruction of kernel functions, and calls the tracer
// then.
//
// Implemented by engine/kvm/placement.h (jumps and stubs in the guest's code), by tracer/entry/tcg (callbacks in
// translated code), and by tests/support/engine/fake_engine.h. An engine in another process can: a hook is an address
// and a number of the tracer's, and a kernel is where its image lies.
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
  const void* what;  // the tracer's; the engine gives it back when a vCPU stands there
  bool may_steer;    // what its handler answers is to be applied: the engine must be able to set registers
  bool filter_only;  // of use only for an engine that filters
  bool essential;    // among the at most four to choose where no more can be watched
};

// Where the kernel is, and the page tables that it has now.
struct KernelImage {
  Gva base;
  Gpa start;  // contiguous from there
  uint64_t size = 0;
  arch::PageTables tables;
};

// What is to be placed. hooks stay where they are until take_out(); the rest is of this call.
struct Wanted {
  std::span<const Hook> hooks;
  KernelImage image;
  // For an engine that decides inside the guest (engine/filter.h). nullopt: this kernel, or this hook, cannot be
  // filtered.
  std::optional<FilterLayout> filter_layout;
  std::function<std::optional<FilterProgram>(const Hook&)> filter_program;
};

struct Placed {
  std::vector<const Hook*>
      missing;                  // could not be placed. (Those with filter_only are not, where nothing is filtered.)
  Filter* filter = nullptr;     // decides inside the guest, and has to be told until take_out()
  bool essential_only = false;  // what is placed are those
  std::string not_filtered;     // why nothing decides inside the guest, although the engine can; empty if it does
};

// Threads: while the machine is stopped (engine/stopping.h), on whichever thread that has the change carried out.
class Placement {
 public:
  virtual ~Placement() = default;
  // No hook is in place before.
  virtual Placed place(const Wanted& wanted) = 0;
  // What becomes of the kernel that has the hooks: it goes on without them; it hands over to another and runs none of
  // its functions but the last; its memory may hold anything by now, and must not be written to.
  enum class Code { goes_on, ends, is_gone };
  // All hooks are out. Nothing need be in place.
  virtual void take_out(Code code) = 0;
};

}  // namespace oboro::engine
