#include "tests/faults/meanwhile.h"

#include <array>
#include <csignal>
#include <cstdio>
#include <dirent.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "store/status.h"

namespace oboro::faults {
namespace {

void second(const std::string& directory, const std::function<void()>& meanwhile) {
  const pid_t child = fork();
  if (child == 0) {
    const std::string program = directory + "/second";
    execl("/bin/sh", "sh", program.c_str(), nullptr);
    _exit(127);
  }
  while (waitpid(child, nullptr, WNOHANG) == 0) {
    meanwhile();
    usleep(1000);
  }
}

pid_t supervisor_of(const std::string& directory) {
  const Result<store::Status> status = store::read_status(directory + "/../state/guest");
  if (!status || status->pid <= 1) fail("there is no supervisor");
  return static_cast<pid_t>(status->pid);
}

void kill_proxies(pid_t supervisor) {
  DIR* processes = opendir("/proc");
  if (processes == nullptr) return;
  while (const dirent* entry = readdir(processes)) {
    const std::string path = std::string("/proc/") + entry->d_name + "/stat";
    FILE* file = fopen(path.c_str(), "re");
    if (file == nullptr) continue;
    int pid = 0, parent = 0;
    std::array<char, 64> name{};
    if (fscanf(file, "%d (%63[^)]) %*c %d", &pid, name.data(), &parent) == 3 && parent == supervisor &&
        std::string(name.data()) == "oboro-proxy")
      kill(pid, SIGKILL);
    fclose(file);
  }
  closedir(processes);
}

}  // namespace

void fail(const std::string& what) {
  fprintf(stderr, "faults_guest: %s\n", what.c_str());
  _exit(9);
}

Plan plan_of(const char* text) {
  std::array<char, 4096> directory{};
  std::array<char, 16> when{}, what{};
  Plan plan;
  if (text == nullptr ||
      sscanf(text, "%4095s %lu %lu %15s %15s", directory.data(), &plan.last, &plan.at, when.data(), what.data()) != 5)
    fail("FAULTS_GUEST is not understood");
  plan.directory = directory.data();
  plan.after = std::string(when.data()) == "after";
  plan.what = what.data();
  return plan;
}

void happen(const Plan& plan, const std::function<void()>& meanwhile, const std::function<bool()>& is_orphan) {
  const UniqueFd file(open((plan.directory + "/fired").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  if (!file) fail("fired");
  const pid_t supervisor = supervisor_of(plan.directory);
  if (plan.what == "term") kill(supervisor, SIGTERM);
  if (plan.what == "hup") kill(supervisor, SIGHUP);
  if (plan.what == "kill-guest") kill(getpid(), SIGKILL);
  if (plan.what == "kill-proxy") kill_proxies(supervisor);
  if (plan.what == "second") second(plan.directory, meanwhile);
  if (plan.what == "kill" || plan.what == "orphan") kill(supervisor, SIGKILL);
  if (plan.what == "orphan") {
    while (!is_orphan()) usleep(1000);
    second(plan.directory, meanwhile);
  }
  if (plan.what != "kill") return;
  // The kernel ends us with our supervisor: nothing more is to come from here. (A signal that ends it in order ends us
  // by one of its own.)
  for (;;) pause();
}

}  // namespace oboro::faults
