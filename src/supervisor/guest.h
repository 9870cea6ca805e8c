// One traced guest: its QEMU, journal, proxies, kernel desk, run socket and status, as handlers on an event loop.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "disk/resolve.h"
#include "store/status.h"
#include "supervisor/journal_writer.h"
#include "supervisor/kernel_desk.h"
#include "supervisor/launch/child.h"
#include "supervisor/launch/machine.h"
#include "supervisor/launch/proxies.h"
#include "supervisor/launch/restart_limit.h"
#include "supervisor/loop.h"
#include "supervisor/options.h"
#include "supervisor/run_socket.h"
#include "supervisor/tracer_line.h"

namespace oboro::supervisor {

class Guest {
 public:
  // Makes everything that the guest's QEMU needs to be traced. options: the machine's engine is decided. Errors: those
  // of what is asked or made, and io.
  static Result<std::unique_ptr<Guest>> prepare(Options options);

  const MachineOptions& machine() const { return options_.machine; }
  const std::string& state_directory() const { return options_.state_dir; }
  const std::string& version() const { return version_; }
  const std::vector<disk::ResolvedDisk>& disks() const { return disks_; }
  const Walls* walls() const { return options_.walls ? &walls_ : nullptr; }
  // The descriptors that QEMU inherits. They are valid until watch().
  Inherited inherited() const;

  // Starts the proxies, as children of this process, and writes the run's begin to journal and status. Machines of
  // proxies may be there only later. It is the last step before the guest runs that can fail.
  Result<void> begin();
  // To be called after begin(), if the guest is not going to run, or cannot be watched: a QEMU that is our child is
  // ended.
  void give_up(const Error& why);
  // Watches until QEMU, and everything else after it, has ended; then calls `over`, once. QEMU may be a process that is
  // not our child. gate: what it is behind, if it can be. From here on nothing blocks, except for writing the last of
  // the journal when QEMU has ended. loop outlives this.
  Result<void> watch(Loop& loop, Child qemu, Gate gate, std::function<void()> over);
  // Asks QEMU to end, and kills it after a grace period.
  void end();
  // To be asked once it is over. Errors end a run, too.
  const Result<Ending>& ending() const { return *ending_; }

 private:
  enum class Phase { running, ending, proxies_end, over };

  explicit Guest(Options options) : options_(std::move(options)) {}
  Result<void> make();
  Result<void> add(Result<Loop::Watch> watch, Loop::Watch& kept);
  Result<void> watch_proxies();
  Result<void> watch_starting_proxies();
  Result<void> say_what_is_starting(std::chrono::milliseconds waited);
  void proxy_ended();
  void start_proxies_again();
  void hand_over_proxy(size_t service);
  void note(const std::string& what);
  void request(std::string_view text, const RunSocket::Peer& by, RunSocket::Reply reply);
  void pause(bool& reason, const std::string& why);
  void go_on();
  void look_at_journal();
  void fail(const Error& why);
  Result<void> watch_gate();
  void qemu_ended();
  Ending end_of(const std::string& how, bool clean) const;
  void end_proxies();
  void over();
  Result<void> finish(const std::string& how, bool failed);

  Options options_;
  std::vector<disk::ResolvedDisk> disks_;
  std::string version_;
  Walls walls_;
  std::unique_ptr<JournalWriter> journal_;
  UniqueFd settings_, ram_;
  UniqueFd control_, commands_;          // our ends
  UniqueFd control_end_, commands_end_;  // the tracer's
  Proxies proxies_;
  std::optional<RunSocket> socket_;
  store::Status status_;

  // Set from watch() on.
  Loop* loop_ = nullptr;
  Phase phase_ = Phase::running;
  std::optional<Child> qemu_;
  Gate gate_;
  std::optional<KernelDesk> desk_;
  std::optional<TracerLine> tracer_;
  std::function<void()> on_over_;
  std::optional<Error> failure_;
  bool journal_available_ = true;
  bool paused_by_journal_ = false, paused_by_doubt_ = false;  // the machine stands still
  std::optional<Result<Ending>> ending_;
  Loop::Watch qemu_watch_, trouble_watch_, gate_watch_, timer_;  // timer_: of the phase
  std::vector<Loop::Watch> proxy_watches_, starting_watches_;
  std::vector<RestartLimit> restarts_;   // by service
  std::vector<size_t> to_be_restarted_;  // services whose proxy has ended
  std::set<size_t> to_be_handed_over_;   // whose proxy the tracer does not know yet
  Loop::Watch starting_timer_;
};

}  // namespace oboro::supervisor
