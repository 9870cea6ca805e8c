// The engine side of a session: from the first user-mode instruction of a guest kernel to the end of the boot. The only
// place that knows both an engine and what stands above it.
//
// Threads: arm(), boot_ended() with all other vCPUs unable to be inside hook() (the engine sees to it); hook() from any
// vCPU thread.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "engine/engine.h"
#include "engine/physical_memory.h"
#include "event/ring.h"
#include "guest/kernel.h"
#include "hooks/table.h"
#include "session/settings.h"

namespace oboro::session {

struct ArmedHook {
  uint64_t address;
  const hooks::HookPoint* point;
  bool may_deny;  // the policy can refuse here: the engine must be able to make the function return
};

class Tracer final : public hooks::Reporter {
 public:
  // memory must outlive the tracer; it need not be complete before arm(). control: the channel to the supervisor.
  static Result<std::unique_ptr<Tracer>> create(const engine::PhysicalMemory& memory, Settings settings,
                                                event::Ring ring, UniqueFd control);

  // Called at the first user-mode instruction of a boot. Blocks that vCPU until the profile is there (bounded).
  // Errors: the guest must not run on, unless ask_to_go_on() says so.
  Result<std::vector<ArmedHook>> arm(engine::Vcpu& vcpu);
  // After a failed arm(): tells the supervisor and waits. True: the user wants the guest run untraced. Otherwise the
  // supervisor ends QEMU, and this does not return before that (bounded by a time limit, then false).
  bool ask_to_go_on(const std::string& why);
  // The hooks are in place.
  void armed();

  engine::Verdict hook(const hooks::HookPoint& point, engine::Vcpu& vcpu);

  // The guest was reset, or a new kernel takes over.
  void boot_ended(std::string_view how);
  bool kernel_was_replaced() { return kernel_replaced_.exchange(false); }

 private:
  Tracer(const engine::PhysicalMemory& memory, Settings settings, event::Ring ring, UniqueFd control,
         diffusion::PatternSet patterns);

  Result<guest::Layout> find_kernel(engine::Vcpu& vcpu) const;
  Result<guest::Profile> profile_for(const guest::Layout& layout);
  void learn_files();

  void report(event::Event& event) override;
  void incomplete(const char* what) override;
  void kernel_replaced() override { kernel_replaced_ = true; }
  void update_counters();

  const engine::PhysicalMemory& memory_;
  Settings settings_;
  event::Ring ring_;
  UniqueFd control_;
  diffusion::PatternSet patterns_;
  diffusion::State state_;
  std::unique_ptr<guest::Kernel> kernel_;
  std::unique_ptr<hooks::Environment> environment_;
  std::vector<std::byte> encoded_;
  uint64_t seq_;
  uint32_t boot_;
  uint64_t lost_unreported_ = 0;
  bool ring_stuck_ = false;
  uint64_t arm_started_ns_ = 0;
  bool profile_cached_ = false;
  size_t hook_count_ = 0;
  std::atomic<bool> kernel_replaced_{false};
  std::array<std::atomic<const char*>, 64> incomplete_reasons_{};
};

}  // namespace oboro::session
