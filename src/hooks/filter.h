// What an engine that filters inside the guest (engine/filter.h) has to ask before it stops a vCPU at a hook, and how
// it learns whom to stop for. The rule: where a program passes, the hook's handler would have changed nothing and
// reported nothing.
#pragma once

#include <optional>
#include <set>
#include <span>
#include <string>

#include "engine/filter.h"
#include "guest/kernel.h"
#include "hooks/interest.h"
#include "labels/carriers.h"

namespace oboro::hooks {

// nullopt: this kernel lacks a structure member that the filter needs.
std::optional<engine::FilterLayout> filter_layout(const guest::Kernel& kernel, uint64_t current_offset);
// nullopt: as above. executables: for Interest::executed, the file names (without directories) of the programs that are
// waited for; empty: every program is waited for.
std::optional<engine::FilterProgram> filter_program(Interest interest, const guest::Kernel& kernel,
                                                    const engine::FilterLayout& layout,
                                                    std::span<const std::string> executables = {});

// Hands the changes of the diffusion state on to the filter.
class FilterMarks final : public labels::Marks {
 public:
  explicit FilterMarks(engine::Filter& filter) : filter_(filter) {}
  void add(labels::Carrier carrier) override;
  void remove(labels::Carrier carrier) override;
  void add_senders() override;
  void remove_senders() override;
  void clear() override;
  // A process that is of interest whatever labels it bears (a hidden service's), until it is let go. Under the lock of
  // labels::Carriers.
  void keep(uint32_t tgid);
  void let_go(uint32_t tgid, bool managed);

 private:
  engine::Filter& filter_;
  std::set<uint32_t> kept_;
};

}  // namespace oboro::hooks
