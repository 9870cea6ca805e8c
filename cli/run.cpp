// oboro run: boots a guest, traced.

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/size.h"
#include "cli/installation.h"
#include "cli/verbs.h"
#include "config/config.h"
#include "labels/pattern.h"
#include "store/state_dir.h"
#include "supervisor/supervisor.h"

namespace oboro::cli {
namespace {

constexpr char kRunFooter[] = R"(Examples:
  oboro run --disk debian.qcow2 --classify '/srv/secret/**=plan'
  oboro run --kernel vmlinuz --initrd initrd.img --append 'root=/dev/vda console=ttyS0' --disk root.img \
            --classify '/etc/ssl/private=keys' --classify '/home/*/.ssh/id_*=keys' -- -nic user,hostfwd=tcp::2222-:22

PATTERN is an absolute path in the guest; *, ?, [a-z], {a,b} and ** (any depth) are understood, and a directory stands for
all below it. LABEL defaults to "classified". Arguments after -- go to QEMU as they are.

A disk's format is found out at its first use and remembered. The backing file and the external data file (data=PATH) of a qcow2
image are opened only if they are named here. A comma in a file's name is written ,,.

The console is the guest's first serial port; in a terminal, Ctrl-A X ends the guest and Ctrl-A C is QEMU's monitor.
Meanwhile and afterwards: oboro events, oboro list, oboro explain, oboro status.

Exit status: 0 the guest ended by itself; 1 something failed; 2 usage or configuration; 3 the guest cannot be traced (it
was stopped before any of its programs ran).)";

struct RunArguments {
  supervisor::Options options;
  std::vector<std::string> classify, disks;
  std::string config, memory, leak, engine = "auto", proxy = "process", wait = "park";
  supervisor::ProxyMachine machine;  // with proxy "vm"
};

Result<void> complete(RunArguments& a) {
  supervisor::Options& o = a.options;
  for (const std::string& text : a.disks) {
    Result<disk::Disk> disk = disk::parse_option(text);
    if (!disk) return Error{disk.error().code, "--disk: " + disk.error().message};
    o.machine.disks.push_back(std::move(*disk));
  }
  if (!a.config.empty()) {
    Result<config::Config> file = config::load(a.config);
    if (!file) return file.error();
    o.rules = file->classify;
    o.policy = file->policy;
    o.journal = file->journal;
    o.hidden = file->hide;
    // The command line has priority over the file.
    supervisor::MachineOptions& m = o.machine;
    if (a.memory.empty() && file->memory) m.memory = *file->memory;
    if (m.cpus == 0 && file->cpus) m.cpus = *file->cpus;
    if (m.kernel.empty() && m.disks.empty()) {
      m.kernel = file->kernel.value_or("");
      m.disks = file->disks;
    }
    for (const auto& [mine, theirs] :
         {std::pair(&m.initrd, &file->initrd), std::pair(&m.append, &file->append), std::pair(&m.qemu, &file->qemu),
          std::pair(&m.vm, &file->vm), std::pair(&o.state_dir, &file->state)})
      if (mine->empty()) *mine = theirs->value_or("");
  }
  for (const std::string& text : a.classify) {
    Result<labels::Classification> rule = labels::parse_classification(text);
    if (!rule) return Error{rule.error().code, fmt::format("--classify '{}': {}", text, rule.error().message)};
    o.rules.push_back({rule->pattern.text(), 0, rule->label});
  }
  if (o.rules.empty() && o.hidden.empty())
    return Error{Errc::invalid, "nothing is classified or hidden: give --classify PATTERN[=LABEL] or --config FILE"};
  if (!o.hidden.empty() && o.machine.hooks == "debug")
    return Error{Errc::invalid, "with --hooks debug, four functions can be watched: services cannot be hidden"};
  if (a.engine != "auto") o.machine.engine = a.engine == "kvm" ? supervisor::Engine::kvm : supervisor::Engine::tcg;
  o.wait = link::value_of(link::kWaits, a.wait).value_or(o.wait);  // CLI11 has checked the word
  if (a.leak == "deny") o.policy.leak = policy::Verdict::deny;
  if (a.leak == "alert") o.policy.leak = policy::Verdict::alert;
  if (!a.memory.empty()) {
    Result<uint64_t> size = parse_size(a.memory);
    if (!size) return Error{size.error().code, "--memory: " + size.error().message};
    o.machine.memory = *size;
  }
  if (o.machine.cpus == 0) o.machine.cpus = 1;
  if (o.machine.vm.empty()) o.machine.vm = "guest";
  if (o.state_dir.empty()) {
    Result<std::string> directory = store::default_state_directory();
    if (!directory) return directory.error();
    o.state_dir = *directory;
  }
  if (auto ok = supervisor::check(o.machine); !ok) return ok;
  Result<Installation> installation = find_installation();
  if (!installation) return installation.error();
  o.parts = installation->parts;
  o.builder = installation->builder;
  o.proxy.program = installation->proxy;
  if (a.proxy == "vm") {
    // Any QEMU will do for it. The one that was asked for is there.
    if (a.machine.qemu.empty()) a.machine.qemu = o.machine.qemu;
    o.proxy.machine = a.machine;
  } else if (!a.machine.kernel.empty() || !a.machine.modules.empty()) {
    return Error{Errc::invalid, "--proxy-kernel and --proxy-modules go with --proxy vm"};
  }
  return {};
}

int execute(RunArguments& a) {
  if (auto ready = complete(a); !ready) return fail(ready.error(), kExitUsage);
  const Result<supervisor::Ending> ending = supervisor::run(a.options);
  if (!ending) return fail(ending.error(), ending.error().code == Errc::unsupported ? kExitUntraceable : kExitFailed);
  switch (*ending) {
    case supervisor::Ending::guest_ended:
      return kExitOk;
    case supervisor::Ending::not_traceable:
      return kExitUntraceable;
    case supervisor::Ending::failed:
      break;
  }
  return kExitFailed;
}

}  // namespace

void add_run(CLI::App& app, int& exit_code) {
  CLI::App* verb = app.add_subcommand("run", "Boot a guest, traced");
  verb->footer(kRunFooter);
  auto a = std::make_shared<RunArguments>();
  supervisor::MachineOptions& m = a->options.machine;
  m.cpus = 0;
  repeatable(verb->add_option("--classify", a->classify, "Files that are classified, PATTERN[=LABEL]; repeatable"));
  verb->add_option("--config", a->config, "Configuration file (TOML; docs/cli.md)");
  verb->add_option("--kernel", m.kernel, "Kernel image to boot directly");
  verb->add_option("--initrd", m.initrd, "Initial RAM disk");
  verb->add_option("--append", m.append, "Kernel command line");
  repeatable(verb->add_option(
      "--disk", a->disks, "Disk image, FILE[,format=raw|qcow2][,backing=PATH,backing-format=raw|qcow2]; repeatable"));
  verb->add_option("--memory", a->memory, "Guest memory (default 1G)");
  verb->add_option("--cpus", m.cpus, "Virtual CPUs (default 1)");
  verb->add_option("--vm", m.vm, "Name of the guest in events (default guest)");
  verb->add_option("--state", a->options.state_dir, "State directory (default: see docs/formats.md)");
  verb->add_option("--leak", a->leak, "What happens when classified data is about to leave: alert (default) or deny")
      ->check(CLI::IsMember({"alert", "deny"}));
  verb->add_option("--capacity", a->options.capacity,
                   "Managed objects that there may be; a file counts twice (default 16777216)")
      ->check(CLI::Range(link::Settings::kMinCapacity, link::Settings::kMaxCapacity));
  verb->add_option("--engine", a->engine, "auto (KVM where it really works, else TCG), kvm or tcg")
      ->check(CLI::IsMember({"auto", "kvm", "tcg"}))
      ->capture_default_str();
  verb->add_option("--hooks", m.hooks, "KVM: auto (filter, else text), filter, text or debug; see docs/kvm.md")
      ->check(CLI::IsMember({"auto", "filter", "text", "debug"}))
      ->capture_default_str();
  verb->add_option("--wait", a->wait,
                   "How hidden services wait for their proxies: park, yield or block; see docs/hiding.md")
      ->check(CLI::IsMember({"park", "yield", "block"}))
      ->capture_default_str();
  verb->add_option(
          "--proxy", a->proxy,
          "Where the calls of hidden services are executed: process (of this host, sandboxed) or vm (the same in "
          "a machine of its own, one for each service)")
      ->check(CLI::IsMember({"process", "vm"}))
      ->capture_default_str();
  verb->add_option("--proxy-kernel", a->machine.kernel,
                   "--proxy vm: kernel image of that machine (default: /boot/vmlinuz of the kernel that runs)");
  verb->add_option("--proxy-modules", a->machine.modules,
                   "--proxy vm: directory of that kernel's modules (default: /lib/modules/RELEASE)");
  verb->add_option("--qemu", m.qemu, "QEMU to run (default: $OBORO_QEMU, the fetched one, the one in PATH)");
  verb->add_flag("--allow-untraced", a->options.allow_untraced, "Run the guest even if its kernel cannot be traced");
  verb->add_option("qemu-arguments", m.further, "Further arguments of QEMU, after --");
  verb->callback([a, &exit_code] { exit_code = execute(*a); });
}

}  // namespace oboro::cli
