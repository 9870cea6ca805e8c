// oboro-qemu: takes the place of the QEMU binary in set-ups that start QEMU themselves (libvirt's <emulator>, scripts).
// It behaves like QEMU, and traces the guest as a configuration file says (docs/kvm.md).

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fmt/format.h>
#include <initializer_list>
#include <string>
#include <string_view>
#include <unistd.h>
#include <vector>

#include "cli/installation.h"
#include "config/config.h"
#include "store/guest_directory.h"
#include "supervisor/say.h"
#include "supervisor/supervisor.h"

namespace {

using namespace oboro;

constexpr char kDefaultConfig[] = "/etc/oboro/qemu.toml";
constexpr char kDefaultState[] = "/var/lib/oboro";

class Arguments {
 public:
  Arguments(int argc, char** argv) : words_(argv + std::min(argc, 1), argv + argc) {}
  const std::vector<std::string>& words() const { return words_; }

  bool has(std::initializer_list<std::string_view> options) const {
    return std::any_of(words_.begin(), words_.end(), [&](const std::string& word) { return is(word, options); });
  }
  // The arguments that follow these options.
  std::vector<std::string> values(std::initializer_list<std::string_view> options) const {
    std::vector<std::string> found;
    for (size_t i = 1; i < words_.size(); ++i)
      if (is(words_[i - 1], options)) found.push_back(words_[i]);
    return found;
  }
  // The argument that follows the last of these options; empty if none is there.
  std::string value(std::initializer_list<std::string_view> options) const {
    const std::vector<std::string> all = values(options);
    return all.empty() ? std::string() : all.back();
  }

 private:
  static bool is(std::string_view word, std::initializer_list<std::string_view> options) {
    if (word.starts_with("--")) word.remove_prefix(1);
    return std::find(options.begin(), options.end(), word) != options.end();
  }
  std::vector<std::string> words_;
};

// The value of key in "first,key=value,..."; if `first` is given, the first entry counts when it has no key.
std::string entry(std::string_view list, std::string_view key, bool first) {
  for (bool at_first = true; !list.empty(); at_first = false) {
    const size_t comma = list.find(',');
    const std::string_view one = list.substr(0, comma);
    list = comma == std::string_view::npos ? std::string_view() : list.substr(comma + 1);
    const size_t equals = one.find('=');
    if (equals == std::string_view::npos && at_first && first) return std::string(one);
    if (one.substr(0, equals) == key && equals != std::string_view::npos) return std::string(one.substr(equals + 1));
  }
  return {};
}

// Whether these arguments start no guest: questions about QEMU itself, as libvirt asks them.
bool runs_no_guest(const Arguments& arguments) {
  if (arguments.words().empty()) return true;
  if (arguments.has({"-h", "-help", "-version", "-display-help"})) return true;
  for (const char* option : {"-machine", "-M", "-cpu", "-device", "-accel", "-object", "-netdev", "-chardev"})
    if (const std::string value = arguments.value({option});
        value == "help" || value == "?" || value.ends_with(",help"))
      return true;
  return entry(arguments.value({"-machine", "-M"}), "type", true) == "none";
}

// Whether every accelerator that is named is KVM. Of several, QEMU takes the first that works.
bool asks_for_kvm(const Arguments& arguments) {
  bool kvm = arguments.has({"-enable-kvm"});
  for (const std::string& value : arguments.values({"-accel"})) {
    if (entry(value, "accel", true) != "kvm") return false;
    kvm = true;
  }
  for (const std::string& value : arguments.values({"-machine", "-M"}))
    if (const std::string accel = entry(value, "accel", false); !accel.empty()) {
      if (accel != "kvm") return false;
      kvm = true;
    }
  return kvm && !arguments.has({"-readconfig"});  // a file could name another accelerator
}

// Whether a name may be part of a path.
bool plain(std::string_view name) {
  return !name.empty() && name.front() != '.' &&
         std::all_of(name.begin(), name.end(), [](char c) { return isalnum(c) || c == '-' || c == '_' || c == '.'; });
}

int fail(const std::string& why) {
  fmt::print(stderr, "oboro-qemu: {}\n", why);
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments arguments(argc, argv);
  const char* named = getenv("OBORO_CONFIG");
  const std::string file = named && *named ? named : kDefaultConfig;
  const Result<config::Config> config = config::load(file);

  supervisor::Options options;
  supervisor::MachineOptions& machine = options.machine;
  if (config && config->qemu) machine.qemu = *config->qemu;
  if (machine.qemu.empty()) {
    Result<std::string> found = supervisor::find_qemu();
    if (!found) return fail(found.error().message);
    machine.qemu = *found;
  }
  if (runs_no_guest(arguments)) {
    argv[0] = machine.qemu.data();
    execv(argv[0], argv);
    return fail(fmt::format("{}: {}", machine.qemu, strerror(errno)));
  }
  // From here on the guest is traced, or does not run at all.
  if (!config) return fail(config.error().message);
  if (config->classify.empty() && config->hide.empty())
    return fail(fmt::format("{}: nothing is classified or hidden", file));
  if (arguments.has({"-daemonize"}))
    return fail("-daemonize is not supported: what starts QEMU is to put it into the background");
  if (!asks_for_kvm(arguments))
    return fail(
        "this guest would, or might, run without KVM, and so untraced: give -accel kvm, no other and no -readconfig, "
        "or "
        "use `oboro run --engine tcg`");
  if (auto ok = supervisor::check_beginning(arguments.words()); !ok) return fail(ok.error().message);
  options.rules = config->classify;
  options.hidden = config->hide;
  options.policy = config->policy;
  options.journal = config->journal;
  machine.vm = entry(arguments.value({"-name"}), "guest", true);
  if (machine.vm.empty()) machine.vm = config->vm.value_or("guest");
  if (!plain(machine.vm)) return fail(fmt::format("the guest's name '{}' cannot name its state directory", machine.vm));
  std::string uuid;
  if (arguments.has({"-uuid"})) {
    const Result<std::string> given = store::parse_uuid(arguments.value({"-uuid"}));
    if (!given) return fail("-uuid: " + given.error().message);
    uuid = *given;
  }
  const Result<store::GuestDirectory> directory =
      store::guest_directory(config->state.value_or(kDefaultState), machine.vm, uuid);
  if (!directory) return fail(directory.error().message);
  if (!directory->taken_over.empty())
    supervisor::say(fmt::format("{} was made for a guest of this name; it is {} now, the UUID's, with all labels",
                                directory->taken_over, directory->path));
  options.state_dir = directory->path;
  Result<cli::Installation> installation = cli::find_installation();
  if (!installation) return fail(installation.error().message);
  options.parts = installation->parts;
  options.builder = installation->builder;
  options.proxy.program = installation->proxy;
  return fail(supervisor::become_qemu(options, arguments.words()).message);
}
