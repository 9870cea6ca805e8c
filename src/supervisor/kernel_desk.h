// The tracer's questions and reports on its control channel: which kernel is this, may this guest run on, how far is
// it?
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/address.h"
#include "base/fd.h"
#include "base/result.h"
#include "guest/profile/cache.h"
#include "guest/profile/sandbox.h"
#include "link/control.h"
#include "store/status.h"
#include "supervisor/loop.h"

namespace oboro::supervisor {

// Answers the tracer's questions about kernels, and writes down what the tracer reports. A profile is built beside
// everything else.
class KernelDesk {
 public:
  // failed: every error ends the run, and the desk does nothing more. The tracer's end is no error.
  using Failed = std::function<void(const Error&)>;
  // doubted: tracing cannot be vouched for, and the machine is to stand still.
  using Doubted = std::function<void(const std::string& why)>;
  // builder: path of oboro-profile. socket: our end of the control channel, O_NONBLOCK. The desk keeps status up to
  // date, in memory and in state_dir. All of these outlive the desk.
  KernelDesk(Loop& loop, const std::string& builder, bool allow_untraced, int socket, store::Status& status,
             const std::string& state_dir, std::string_view cache_directory, Failed failed, Doubted doubted)
      : loop_(loop),
        builder_(builder),
        allow_untraced_(allow_untraced),
        socket_(socket),
        status_(status),
        state_dir_(state_dir),
        cache_(cache_directory),
        failed_(std::move(failed)),
        doubted_(std::move(doubted)) {}

  Result<void> open();
  // Stops listening, and ends a build that is at work.
  void close();

  bool tracer_is_gone() const { return tracer_is_gone_; }
  bool is_building() const { return job_.has_value(); }
  bool untraceable() const { return untraceable_; }
  bool was_armed() const { return was_armed_; }
  // Whether the tracer has the call by which QEMU makes its machine with KVM. Hears first what it has said by now.
  bool finds_machine();

 private:
  // A kernel that the tracer has met, while its profile is in doubt.
  struct Kernel {
    std::string key;
    Gva base;
    UniqueFd image;
    std::string cached;  // the profile's text; empty: there was none
  };
  // The build of its profile.
  struct Job {
    Kernel kernel;
    guest::ProfileBuild build;
    Loop::Watch watch;
  };

  void hear();
  Result<void> serve(link::Message& message);
  Result<void> refuse(const std::string& why);
  Result<void> identify(link::Message& message);
  Result<void> armed(const link::Armed& message);
  Result<void> save();
  void answer(const link::Body& body);
  Result<void> build(Kernel kernel);
  void proceed();
  Result<void> built(const Kernel& kernel, const Result<guest::Profile>& profile);
  Result<void> verified(const Kernel& kernel, const Result<guest::Profile>& profile) const;
  void remember(const Kernel& kernel, const guest::Profile& profile) const;
  void end_if_failed(const Result<void>& result);

  Loop& loop_;
  const std::string& builder_;
  bool allow_untraced_;
  int socket_;
  store::Status& status_;
  const std::string& state_dir_;
  guest::ProfileCache cache_;
  Failed failed_;
  Doubted doubted_;
  Loop::Watch watch_;
  bool tracer_is_gone_ = false;
  bool untraceable_ = false;
  bool was_armed_ = false;
  bool machine_found_ = false;
  std::optional<Kernel> doubtful_;
  std::optional<Job> job_;
  std::optional<link::Message> held_;  // a question that waits for the verification of a profile
};

}  // namespace oboro::supervisor
