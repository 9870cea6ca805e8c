// The proxies of hidden services: one sandboxed process each (src/proxy), here or in a machine of its own. They end
// with the run.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "link/settings.h"
#include "proxy/channel.h"
#include "supervisor/launch/child.h"
#include "supervisor/launch/proxy_machine.h"

namespace oboro::supervisor {

struct ProxyPlace {
  std::string program;                  // oboro-proxy
  std::optional<ProxyMachine> machine;  // nothing: a process of this host
};

class Proxies {
 public:
  // Makes what the tracer is to inherit. Nothing runs yet. Errors: io, and those of the services' settings.
  static Result<Proxies> prepare(const std::vector<link::HiddenService>& services, const std::string& state_dir,
                                 const ProxyPlace& place);
  // Starts them as children of this process: only a parent is told how its child ended. A process has its root in
  // state_dir/hidden/NAME, and a machine has it in the file system on state_dir/hidden/NAME.ext4. The directories that
  // lead to hidden files are made. Machines are there only later (starting()); calls of their services wait until then.
  // Errors: io, and the proxy's own message on standard error.
  Result<void> start();
  Proxies() = default;
  Proxies(Proxies&&) = default;
  Proxies& operator=(Proxies&&) = default;
  ~Proxies();  // end(), and waits until it is over

  static constexpr int kSwitchOffMs = 30000;  // for a machine, to write what it has
  // Machines that are not there yet. fd is readable once heard() has something to tell.
  struct Starting {
    std::string service;
    int fd;
    bool again;  // it was there before: the run does not depend on it
  };
  std::vector<Starting> starting() const;
  // The machine of that service is there; or it has ended before it was (io). One that was to start again is one that
  // has ended() then.
  Result<void> heard(const std::string& service);

  // The guest has ended, so the proxies end, too; machines after they have written their files. over(): all have ended,
  // or need not be waited for. give_up(): those that have not, end now.
  void end();
  bool over() const;
  void give_up();
  // Each descriptor becomes readable once one of the processes has ended.
  std::vector<int> poll_fds() const;

  // For the tracer, in the order of the services: the channel's memory, for-proxy, for-tracer, and a descriptor that
  // ends with the proxy.
  const std::vector<std::vector<int>>& tracer_fds() const { return tracer_fds_; }
  // A proxy that has ended since this was asked last.
  struct End {
    size_t service;         // its place among the services
    std::string name, how;  // in words, such as " by signal 9"
    bool suspect;           // somebody may have taken it over
  };
  std::optional<End> ended();
  // Whether the proxy has ended with all that belongs to it (the machine takes longer), so that it can be started
  // again: on the same files, with a channel of its own. tracer_fds() are those of the new one then. Errors: as
  // start().
  bool can_start_again(size_t service) const { return all_[service].ended && !all_[service].machine_runs(); }
  Result<void> start_again(size_t service);
  bool is_there(size_t service) const { return !all_[service].ended && !all_[service].ready; }
  // What was started again is not wanted after all. It is not reported as ended.
  void drop(size_t service);

 private:
  struct One {
    ProxyMachineWork work;         // also where it is a process
    std::string home;              // the directory with the files of a process
    proxy::ChannelFds channel;     // for the tracer to inherit
    UniqueFd life, life_end;       // our end; the proxy's, until it is started
    std::optional<Child> machine;  // started before the child, and ends after it
    std::optional<Child> child;    // the proxy, or the relay to its machine
    UniqueFd ready;                // machines: a byte comes when the proxy is there
    bool ended = false, again = false;
    bool machine_runs() const { return machine && !machine->ends_within(0); }
    bool over() const;
  };
  static Result<void> connect(One& one);
  static std::vector<int> fds_of(const One& one);
  Result<void> start(One& one);

  ProxyPlace place_;
  std::string no_files_;  // an empty directory
  std::vector<One> all_;
  std::vector<std::vector<int>> tracer_fds_;
};

}  // namespace oboro::supervisor
