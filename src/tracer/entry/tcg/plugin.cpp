// The shared object that QEMU loads (-plugin): the TCG engine's entry. In each phase of a boot (boot.h) it watches:
//
//   waiting_for_kernel   WRMSR to LSTAR, by which a 64-bit kernel announces itself. (From then on, code at low
//                        addresses is user mode; before, it may be anything.)
//   starting             The first instruction executed with CPL 3.
//   armed                The hook addresses.
// In every phase the reset vector is watched.
//
// QEMU keeps translated code, with the callbacks that were put into it. A change of phase may need other callbacks in
// code that is translated already. Then this asks QEMU to throw all translated code away (qemu_plugin_reset). That
// happens with all vCPUs stopped, some time after the callback that asked for it. This is how this engine stops its
// machine.

#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <signal.h>
#include <string>
#include <sys/prctl.h>
#include <unistd.h>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/tcg/plugin_api.h"
#include "engine/tcg/vcpu.h"
#include "tracer/boot.h"
#include "tracer/commands.h"
#include "tracer/make.h"

namespace oboro::tracer {
namespace {

using engine::tcg::TcgVcpu;
using Phase = Boot::Phase;

void complain(const std::string& message) { fprintf(stderr, "oboro: %s\n", message.c_str()); }

void on_stopped(void*);

struct Plugin final : engine::Placement, engine::Stopping {
  qemu_plugin_id_t id = 0;
  engine::PhysicalMemory memory;
  std::unique_ptr<Tracer> tracer;
  std::optional<Boot> boot;
  std::vector<TcgVcpu> vcpus;                               // by index; as many as the machine can have at most
  std::unordered_map<uint64_t, const engine::Hook*> hooks;  // read while code is translated, and not while stopped
  std::function<void()> change;                             // the change that was asked for
  const pid_t parent = getppid();                           // the supervisor
  std::once_flag bound;                                     // to it, for life

  engine::Placed place(const engine::Wanted& wanted) override {
    for (const engine::Hook& hook : wanted.hooks)
      if (!hook.filter_only) hooks.emplace(hook.address, &hook);
    return {};
  }
  void take_out(Code) override { hooks.clear(); }  // no translated code has them

  bool at_once() const override { return false; }
  void stop(engine::Vcpu*, std::function<void()> then) override {
    change = std::move(then);
    qemu_plugin_reset(id, on_stopped, nullptr);
  }
  void aside(engine::Vcpu&, const std::function<void()>& wait) override { wait(); }
  [[noreturn]] void end(const std::string& why) override {
    complain(why);
    _exit(3);
  }
};
Plugin* plugin;

void on_translate(qemu_plugin_tb* tb, void*);
void on_vcpu_init(unsigned index, void*);

void on_stopped(void*) {
  std::exchange(plugin->change, nullptr)();
  // A reset of the plugin takes all of its callbacks away.
  qemu_plugin_register_vcpu_init_cb(plugin->id, on_vcpu_init, nullptr);
  qemu_plugin_register_vcpu_tb_trans_cb(plugin->id, on_translate, nullptr);
}

void on_reset_vector(unsigned index, void*) { plugin->boot->at_reset_vector(plugin->vcpus[index]); }

void on_announcement(unsigned index, void*) {
  if (plugin->boot->phase() != Phase::waiting_for_kernel) return;
  if (arch::sets_system_call_entry(plugin->vcpus[index])) plugin->boot->kernel_announced();
}

void on_low_code(unsigned index, void*) {
  if (plugin->boot->phase() != Phase::starting) return;
  TcgVcpu& vcpu = plugin->vcpus[index];
  if (!arch::in_user_mode(vcpu)) return;
  if (!plugin->boot->changing()) plugin->boot->before_program(vcpu);
  // No vCPU executes an instruction of a program until the hooks are in: each vCPU comes here again, or QEMU stops it
  // before that. No object with a destructor may be alive: go_to() ends by longjmp.
  if (plugin->boot->changing()) vcpu.go_to(arch::program_counter(vcpu));
}

// No object with a destructor may be alive in here: at_hook() may end by longjmp.
void on_hook(unsigned index, void* data) {
  if (plugin->boot->phase() != Phase::armed) return;
  TcgVcpu& vcpu = plugin->vcpus[index];
  plugin->boot->at_hook(*static_cast<const engine::Hook*>(data), vcpu, vcpu);
}

bool may_announce_kernel(const qemu_plugin_insn* insn) {
  uint8_t code[arch::kAnnouncementSize];
  return qemu_plugin_insn_size(insn) == sizeof code && qemu_plugin_insn_data(insn, code, sizeof code) == sizeof code &&
         arch::may_set_system_call_entry(code);
}

// A process that changes its user (-run-with user=) is not ended with its parent any more, though it was started so.
// QEMU has done that before its machine runs.
void end_with_supervisor() {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != plugin->parent) plugin->end("the supervisor is gone");
}

void on_translate(qemu_plugin_tb* tb, void*) {
  const Phase phase = plugin->boot->phase();
  const uint64_t start = qemu_plugin_tb_vaddr(tb);
  if (start == arch::kResetVector) {
    std::call_once(plugin->bound, end_with_supervisor);
    qemu_plugin_register_vcpu_insn_exec_cb(qemu_plugin_tb_get_insn(tb, 0), on_reset_vector, QEMU_PLUGIN_CB_R_REGS,
                                           nullptr);
  }
  const bool low = start < arch::kLowCodeEnd;
  if (phase == Phase::starting && low) {
    qemu_plugin_register_vcpu_insn_exec_cb(qemu_plugin_tb_get_insn(tb, 0), on_low_code, QEMU_PLUGIN_CB_RW_REGS_PC,
                                           nullptr);
    return;
  }
  if (low || phase == Phase::starting || phase == Phase::untraced) return;
  const size_t count = qemu_plugin_tb_n_insns(tb);
  for (size_t i = 0; i < count; ++i) {
    qemu_plugin_insn* insn = qemu_plugin_tb_get_insn(tb, i);
    if (phase == Phase::waiting_for_kernel) {
      if (may_announce_kernel(insn))
        qemu_plugin_register_vcpu_insn_exec_cb(insn, on_announcement, QEMU_PLUGIN_CB_R_REGS, nullptr);
      continue;
    }
    const auto hook = plugin->hooks.find(qemu_plugin_insn_vaddr(insn));
    if (hook == plugin->hooks.end()) continue;
    // Writable registers cost time, so only a hook that may refuse gets them.
    const auto flags = hook->second->may_steer ? QEMU_PLUGIN_CB_RW_REGS_PC : QEMU_PLUGIN_CB_R_REGS;
    qemu_plugin_register_vcpu_insn_exec_cb(insn, on_hook, flags, const_cast<engine::Hook*>(hook->second));
  }
}

void on_vcpu_init(unsigned index, void*) {
  if (index >= plugin->vcpus.size() || !plugin->vcpus[index].init(index)) {
    complain("this QEMU does not offer a register that tracing needs");
    _exit(1);
  }
}

// Does everything that can fail, before the guest has run an instruction.
Result<void> set_up(const link::Start& start) {
  if (start.commands < 0) return Error{Errc::invalid, "commands is missing"};
  const bool read_only = start.proxies.empty();  // only threads of hidden services are written to
  Result<std::span<const std::byte>> ram = link::map_whole(start.ram, !read_only);
  if (!ram) return Error{ram.error().code, "guest RAM: " + ram.error().message};
  // The PC machine types put RAM that does not fit below the PCI hole above 4 GiB.
  const uint64_t below = start.below_4g && start.below_4g < ram->size() ? start.below_4g : ram->size();
  if (!plugin->memory.add({.start = 0, .mapped = ram->first(below), .read_only = read_only}))
    return Error{Errc::internal, "guest RAM: empty"};
  if (below < ram->size() &&
      !plugin->memory.add({.start = uint64_t{1} << 32, .mapped = ram->subspan(below), .read_only = read_only}))
    return Error{Errc::internal, "guest RAM: its parts overlap"};
  Result<std::unique_ptr<Tracer>> tracer = make_tracer(plugin->memory, start);
  if (!tracer) return tracer.error();
  plugin->tracer = std::move(*tracer);
  plugin->boot.emplace(*plugin->tracer, *plugin, *plugin);
  start_commands_thread(*plugin->tracer, start.commands);
  return {};
}

}  // namespace
}  // namespace oboro::tracer

extern "C" {

[[gnu::visibility("default")]] extern const int qemu_plugin_version;
const int qemu_plugin_version = 7;

[[gnu::visibility("default")]] int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t* info, int argc,
                                                       char** argv) {
  using namespace oboro::tracer;
  if (!info->system_emulation || info->target_name != oboro::arch::kName) {
    complain("only " + std::string(oboro::arch::kName) + " system emulation can be traced");
    return 1;
  }
  const oboro::Result<oboro::link::Start> start =
      oboro::link::Start::parse(std::vector<std::string_view>(argv, argv + argc));
  if (!start) {
    complain("the plugin is to be loaded by `oboro run`, not by hand: " + start.error().message);
    return 1;
  }
  start->keep_from_children();
  plugin = new Plugin;  // for the life of the process: QEMU calls back until its end
  plugin->id = id;
  plugin->vcpus.resize(static_cast<size_t>(std::max(info->system.max_vcpus, info->system.smp_vcpus)));
  if (const auto done = set_up(*start); !done) {
    complain(done.error().message);
    return 1;
  }
  qemu_plugin_register_vcpu_init_cb(id, on_vcpu_init, nullptr);
  qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate, nullptr);
  return 0;
}

}  // extern "C"
