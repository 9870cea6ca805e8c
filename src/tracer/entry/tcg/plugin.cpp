// The shared object that QEMU loads (-plugin): the TCG engine's entry, and the phases of a boot.
//
//   waiting_for_kernel   BIOS, boot loader, decompressor. Watched: WRMSR to LSTAR, by which a 64-bit kernel announces
//                        itself. (From then on, code at low addresses is user mode; before, it may be anything.)
//   waiting_for_user     The kernel initialises itself. Watched: the first instruction executed with CPL 3.
//   armed                Watched: the hook addresses.
//   untraced             The kernel could not be traced and the user wants it run all the same.
// In every phase the reset vector is watched: it begins a new boot.
//
// QEMU keeps translated code, with the callbacks that were put into it. So a change of phase that needs other callbacks
// in code that is translated already asks QEMU to throw it all away (qemu_plugin_reset), which happens with all vCPUs
// stopped, in begin_phase(). What belongs to a boot that has ended is dropped there and nowhere else: until then, other
// vCPUs may be inside a callback that uses it.

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <memory>
#include <mutex>
#include <string.h>
#include <string>
#include <unistd.h>
#include <unordered_map>
#include <vector>

#include "engine/tcg/plugin_api.h"
#include "engine/tcg/vcpu.h"
#include "tracer/commands.h"
#include "tracer/make.h"

namespace oboro::tracer {
namespace {

using engine::tcg::TcgVcpu;

constexpr uint64_t kResetVector = 0xfffffff0;
constexpr uint32_t kMsrLstar = 0xc0000082;
constexpr uint64_t kLowEnd = uint64_t{1} << 47;

enum class Phase { waiting_for_kernel, waiting_for_user, armed, untraced };

struct Plugin {
  qemu_plugin_id_t id = 0;
  std::atomic<Phase> phase{Phase::waiting_for_kernel};
  std::atomic<bool> changing{false};  // a phase change has been asked for and not happened yet
  Phase next_phase = Phase::waiting_for_kernel;
  std::atomic<const char*> ended{nullptr};  // by what, if the boot has ended: goes before next_phase
  bool started = false;                     // the machine has executed its reset vector once
  engine::PhysicalMemory memory;
  std::unique_ptr<Tracer> tracer;
  std::vector<TcgVcpu> vcpus;  // by index; as many as the machine can ever have
  std::unordered_map<uint64_t, ArmedHook> hooks;
};
Plugin* plugin;

void complain(const std::string& message) { fprintf(stderr, "oboro: %s\n", message.c_str()); }

void on_translate(qemu_plugin_tb* tb, void*);

void begin_phase(void*) {
  const char* ended = plugin->ended.exchange(nullptr);
  if (ended) plugin->tracer->boot_ended(ended);
  plugin->phase = ended ? Phase::waiting_for_kernel : plugin->next_phase;
  plugin->changing = false;
  qemu_plugin_register_vcpu_tb_trans_cb(plugin->id, on_translate, nullptr);
  if (plugin->phase == Phase::armed) plugin->tracer->armed();
}

void stop_for_change() {
  if (!plugin->changing.exchange(true)) qemu_plugin_reset(plugin->id, begin_phase, nullptr);
}

void change_phase(Phase next) {
  plugin->next_phase = next;
  stop_for_change();
}

void end_boot(const char* how) {
  plugin->ended = how;
  stop_for_change();
}

void on_reset_vector(unsigned index, void*) {
  if (index != 0 || !engine::was_reset(plugin->vcpus[index])) return;
  if (!plugin->started) {
    plugin->started = true;
    return;
  }
  if (plugin->phase == Phase::waiting_for_kernel) return;
  end_boot("reset");
}

void on_wrmsr(unsigned index, void*) {
  if (plugin->phase != Phase::waiting_for_kernel) return;
  if (static_cast<uint32_t>(plugin->vcpus[index].reg(arch::Reg::rcx)) == kMsrLstar)
    plugin->phase = Phase::waiting_for_user;
}

void on_low_code(unsigned index, void*) {
  if (plugin->phase != Phase::waiting_for_user || plugin->changing) return;
  TcgVcpu& vcpu = plugin->vcpus[index];
  if ((vcpu.reg(arch::Reg::cs) & 3) != 3) return;
  static std::mutex one_at_a_time;
  const std::lock_guard lock(one_at_a_time);
  if (plugin->phase != Phase::waiting_for_user || plugin->changing) return;

  Result<std::vector<ArmedHook>> hooks = plugin->tracer->arm(vcpu);
  if (!hooks) {
    // No user code runs until the supervisor has decided; without its answer, or with a no, QEMU ends here.
    if (!plugin->tracer->ask_to_go_on(hooks.error().message)) {
      complain("the guest cannot be traced, and nobody says that it may run on: " + hooks.error().message);
      _exit(3);
    }
    change_phase(Phase::untraced);
    return;
  }
  plugin->hooks.clear();
  for (const ArmedHook& hook : *hooks)
    if (!hook.filter_only) plugin->hooks.emplace(hook.address, hook);
  change_phase(Phase::armed);
}

void on_hook(unsigned index, void* data) {
  if (plugin->phase != Phase::armed) return;
  const auto* hook = static_cast<const ArmedHook*>(data);
  TcgVcpu& vcpu = plugin->vcpus[index];
  const engine::Response response = plugin->tracer->hook(*hook->point, vcpu);
  if (plugin->tracer->kernel_was_replaced()) end_boot("kexec");  // on this vCPU or on another: the answer holds
  if (hook->may_steer && !engine::apply(response, vcpu)) plugin->tracer->not_answered();
}

bool is_wrmsr(const qemu_plugin_insn* insn) {
  uint8_t code[2];
  return qemu_plugin_insn_size(insn) == 2 && qemu_plugin_insn_data(insn, code, 2) == 2 && code[0] == 0x0f &&
         code[1] == 0x30;
}

void on_translate(qemu_plugin_tb* tb, void*) {
  const Phase phase = plugin->phase;
  const uint64_t start = qemu_plugin_tb_vaddr(tb);
  if (start == kResetVector)
    qemu_plugin_register_vcpu_insn_exec_cb(qemu_plugin_tb_get_insn(tb, 0), on_reset_vector, QEMU_PLUGIN_CB_R_REGS,
                                           nullptr);
  const bool low = start < kLowEnd;
  if (phase == Phase::waiting_for_user && low) {
    qemu_plugin_register_vcpu_insn_exec_cb(qemu_plugin_tb_get_insn(tb, 0), on_low_code, QEMU_PLUGIN_CB_R_REGS, nullptr);
    return;
  }
  if (low || phase == Phase::waiting_for_user || phase == Phase::untraced) return;
  const size_t count = qemu_plugin_tb_n_insns(tb);
  for (size_t i = 0; i < count; ++i) {
    qemu_plugin_insn* insn = qemu_plugin_tb_get_insn(tb, i);
    if (phase == Phase::waiting_for_kernel) {
      if (is_wrmsr(insn)) qemu_plugin_register_vcpu_insn_exec_cb(insn, on_wrmsr, QEMU_PLUGIN_CB_R_REGS, nullptr);
      continue;
    }
    const auto hook = plugin->hooks.find(qemu_plugin_insn_vaddr(insn));
    if (hook == plugin->hooks.end()) continue;
    // Only a hook that may refuse pays for registers that can be written.
    const auto flags = hook->second.may_steer ? QEMU_PLUGIN_CB_RW_REGS_PC : QEMU_PLUGIN_CB_R_REGS;
    qemu_plugin_register_vcpu_insn_exec_cb(insn, on_hook, flags, &hook->second);
  }
}

void on_vcpu_init(unsigned index, void*) {
  if (index >= plugin->vcpus.size() || !plugin->vcpus[index].init(index)) {
    complain("this QEMU does not offer a register that tracing needs");
    _exit(1);
  }
}

// Everything that can fail does so here, before the guest has run an instruction.
Result<void> set_up(const link::Start& start) {
  if (start.commands < 0) return Error{Errc::invalid, "commands is missing"};
  const bool read_only = start.proxies.empty();  // only threads of hidden services are written to
  Result<std::span<const std::byte>> ram = link::map_whole(start.ram, !read_only);
  if (!ram) return Error{ram.error().code, "guest RAM: " + ram.error().message};
  // The PC machine types put what does not fit below the PCI hole above 4 GiB.
  const uint64_t below = start.below_4g && start.below_4g < ram->size() ? start.below_4g : ram->size();
  if (!plugin->memory.add({.start = 0, .mapped = ram->first(below), .read_only = read_only}))
    return Error{Errc::internal, "guest RAM: empty"};
  if (below < ram->size() &&
      !plugin->memory.add({.start = uint64_t{1} << 32, .mapped = ram->subspan(below), .read_only = read_only}))
    return Error{Errc::internal, "guest RAM: its parts overlap"};
  Result<std::unique_ptr<Tracer>> tracer = make_tracer(plugin->memory, start);
  if (!tracer) return tracer.error();
  plugin->tracer = std::move(*tracer);
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
  if (!info->system_emulation || strcmp(info->target_name, "x86_64") != 0) {
    complain("only x86_64 system emulation can be traced");
    return 1;
  }
  const oboro::Result<oboro::link::Start> start =
      oboro::link::Start::parse(std::vector<std::string_view>(argv, argv + argc));
  if (!start) {
    complain("the plugin is to be loaded by `oboro run`, not by hand: " + start.error().message);
    return 1;
  }
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
