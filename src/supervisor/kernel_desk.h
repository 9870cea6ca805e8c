// Answers what the tracer asks on its control channel: which kernel is this, may this guest run on?
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/address.h"
#include "base/fd.h"
#include "base/result.h"
#include "guest/profile/cache.h"
#include "link/control.h"
#include "store/status.h"

namespace oboro::supervisor {

// Answers the tracer's questions about kernels.
class KernelDesk {
 public:
  // builder: path of oboro-profile. status is kept up to date, in memory and in state_dir. All of them outlive this.
  KernelDesk(const std::string& builder, bool allow_untraced, int socket, store::Status& status,
             const std::string& state_dir, std::string_view cache_directory)
      : builder_(builder),
        allow_untraced_(allow_untraced),
        socket_(socket),
        status_(status),
        state_dir_(state_dir),
        cache_(cache_directory) {}

  enum class Served { yes, tracer_is_gone };
  // One message. Every error ends the run; that the tracer is gone is none.
  Result<Served> serve();
  bool untraceable() const { return untraceable_; }
  bool was_armed() const { return was_armed_; }
  bool machine_found() const { return machine_found_; }  // the tracer is between a virtual machine and its VMM

 private:
  // A kernel that the tracer has met, while its profile is in doubt.
  struct Kernel {
    std::string key;
    Gva base;
    UniqueFd image;
    std::string cached;  // the profile's text
  };

  Result<Served> refuse(const std::string& why);
  Result<Served> identify(link::Message& message);
  Served answer(char type, std::string_view payload) const;
  Result<Served> armed(std::string_view payload);
  Result<Served> save();
  Result<Served> verify(const Kernel& kernel);
  Result<guest::Profile> build(const Kernel& kernel) const;
  void remember(const Kernel& kernel, const guest::Profile& profile) const;

  const std::string& builder_;
  bool allow_untraced_;
  int socket_;
  store::Status& status_;
  const std::string& state_dir_;
  guest::ProfileCache cache_;
  bool untraceable_ = false;
  bool was_armed_ = false;
  bool machine_found_ = false;
  std::optional<Kernel> doubtful_;
};

}  // namespace oboro::supervisor
