// The engine side of a session: it finds the kernel, arms, runs the handlers, and reports. boot.h says what of this
// happens when.
//
// Threads: arm(), boot_ended() while no other vCPU can be inside hook() (Boot sees to it); hook() on any thread on
// which the tracer is told of a vCPU at a hook.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "engine/engine.h"
#include "engine/physical_memory.h"
#include "engine/placement.h"
#include "guest/kernel.h"
#include "hiding/service/hider.h"
#include "hooks/filter.h"
#include "hooks/table.h"
#include "link/settings.h"
#include "stream/ring_writer.h"
#include "tracer/reasons.h"
#include "tracer/trust.h"

namespace oboro::tracer {

// The hook point of one of arm()'s hooks.
inline const hooks::HookPoint& point_of(const engine::Hook& hook) {
  return *static_cast<const hooks::HookPoint*>(hook.what);
}

class Tracer final : public hooks::Reporter {
 public:
  // memory must outlive the tracer. It need not be complete before arm(). control: the channel to the supervisor.
  static Result<std::unique_ptr<Tracer>> create(const engine::PhysicalMemory& memory, link::Settings settings,
                                                stream::RingWriter ring, UniqueFd control,
                                                std::vector<std::unique_ptr<hiding::Service>> services = {});

  // Finds out which kernel the vCPU runs, as early as the engine likes: at any instruction of a 64-bit kernel at its
  // final address. Blocks until the profile is there (bounded). Errors: not_found (no kernel is there, or not yet),
  // others (the kernel cannot be traced). For an engine that needs an address before arm().
  Result<void> identify(engine::Vcpu& vcpu);
  // How far the kernel that identify() found has come. gone: another has taken its place. initialised: its code is as
  // it will stay (system_state, include/linux/kernel.h: from SYSTEM_SCHEDULING on), shortly before its first program
  // starts.
  enum class Progress { gone, booting, initialised };
  Progress progress() const;
  // Whether any program runs or has run, after arm(): then it was too late.
  bool programs_run() const;

  // To be called when the kernel has initialised itself, and before any user-mode instruction has run. Identifies the
  // kernel if that has not been done. After an error the guest must not run on, unless ask_to_go_on() says so.
  Result<std::vector<engine::Hook>> arm(engine::Vcpu& vcpu);
  // After a failed arm(): tells the supervisor and waits. True: the user wants the guest to run untraced. Otherwise the
  // supervisor ends QEMU, and this does not return before that (after a time limit it does, with false).
  bool ask_to_go_on(const std::string& why);
  // For an engine that filters, after arm() and before armed(): what the filter needs (nullopt: this kernel cannot be
  // filtered), and the filter itself. The filter must outlive the tracer, or the boot.
  std::optional<engine::FilterLayout> filter_layout() const;
  std::optional<engine::FilterProgram> filter_program(const engine::Hook& hook,
                                                      const engine::FilterLayout& layout) const;
  void filter_with(engine::Filter& filter);
  // To be called after arm() and before armed(), if only the essential hooks are placed.
  void watch_essential_only() { environment_->opens_unseen = true; }
  // The engine could not place this one of arm()'s hooks.
  void not_placed(const engine::Hook& hook);
  // The hooks are in place.
  void armed();
  const guest::Kernel& kernel() const { return *kernel_; }  // from arm() on

  const link::Settings& settings() const { return settings_; }

  engine::Response hook(const hooks::HookPoint& point, engine::Vcpu& vcpu);
  // The answer of hook() could not be applied.
  void not_answered() { incomplete("a hooked call could not be answered: its return address is not in memory"); }
  const stream::RingCounters& counters() const { return ring_.counters(); }  // any thread: they are atomic
  uint64_t records() { return ring_.counters().records; }
  void count_stop() { ring_.counters().stops.fetch_add(1, std::memory_order_relaxed); }

  // Any thread: the supervisor says whether the journal can be written.
  void journal_is(bool available);
  // Any thread: nobody reads the reports any more, and the guest is to run on (policy::Trouble::supervisor_loss).
  void supervisor_is_lost() { doubt(policy::Trouble::supervisor_loss, "the supervisor is gone"); }
  // Any thread: a hidden service's proxy has been started again. fds: as in link::Start::Proxy. Errors: invalid (there
  // is no such service, no such channel; or the proxy must not be replaced), io.
  Result<void> renew_proxy(uint64_t service, std::vector<UniqueFd> fds);
  // Any thread: an operator says go on; an operator's command is reported.
  void go_on() { trust_.go_on(); }
  void commanded(event::Command command);

  // From now on something is not seen, or may not be (the guest has changed what the hooks rest on, say); `what` is a
  // string literal.
  void unseen(const char* what) { incomplete(what); }
  // Any thread: something is worth knowing, and the result stays complete.
  void warn(std::string text);
  // To be called before hooks are taken out of a guest that runs on: services are hidden no more. Returns who still has
  // to come back to a hook, in words: then ask again. Empty: no thread has to, as far as no vCPU is in hook() now.
  // patient: as in hiding::Hider::retire().
  std::string retire(bool patient);
  // The guest is to be let go, and is not yet. who: who keeps the hooks in place.
  void not_detached(std::string_view who);
  // All hooks are out, and the guest runs on.
  void detached(std::string_view why);
  // The guest was reset, or a new kernel takes over.
  void boot_ended(std::string_view how);
  // Whether a hook has seen a kexec since this was asked last.
  bool kernel_was_replaced() {
    return kernel_replaced_.load(std::memory_order_relaxed) && kernel_replaced_.exchange(false);
  }

 private:
  Tracer(const engine::PhysicalMemory& memory, link::Settings settings, stream::RingWriter ring, UniqueFd control,
         labels::PatternSet patterns, std::vector<std::unique_ptr<hiding::Service>> services);

  // A kernel that has been identified, and not armed yet.
  struct Identified {
    guest::Layout layout;
    guest::Profile profile;
    std::string banner;  // the first bytes of linux_banner
    uint64_t took_ns;    // to identify it
  };

  Result<guest::Layout> find_kernel(engine::Vcpu& vcpu) const;
  std::string banner(const guest::Layout& layout, const guest::Profile& profile) const;
  Result<guest::Profile> profile_for(const guest::Layout& layout);
  void learn_files();

  void report(event::Event& event) override;
  void incomplete(const char* what) override;
  void kernel_replaced() override { kernel_replaced_ = true; }
  template <typename Payload>
  void tell(Payload payload, event::Verdict verdict = event::Verdict::allow);
  void doubt(policy::Trouble trouble, const char* why);
  void update_counters();

  const engine::PhysicalMemory& memory_;
  link::Settings settings_;
  stream::RingWriter ring_;
  UniqueFd control_;
  labels::PatternSet patterns_;
  labels::Carriers state_;
  Trust trust_;
  std::optional<Identified> identified_;
  std::unique_ptr<guest::Kernel> kernel_;
  std::unique_ptr<hooks::Environment> environment_;
  std::vector<std::byte> encoded_;
  uint64_t seq_;
  uint32_t boot_;
  std::vector<std::unique_ptr<hiding::Service>> services_;
  std::unique_ptr<hiding::Hider> hider_;  // null: nothing is hidden
  uint64_t lost_unreported_ = 0;
  std::array<bool, 2> ring_stuck_{};  // for kinds without and with kept room (event::Room)
  uint64_t arm_started_ns_ = 0;
  bool profile_cached_ = false;
  size_t hook_count_ = 0;
  std::unique_ptr<hooks::FilterMarks> marks_;
  std::atomic<bool> kernel_replaced_{false};
  std::atomic<bool> programs_seen_{false};  // in this boot
  Reasons incomplete_reasons_;              // of this boot
};

}  // namespace oboro::tracer
