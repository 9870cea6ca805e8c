#include "supervisor/kernel_desk.h"

#include <cstdlib>
#include <fmt/format.h>
#include <utility>
#include <vector>

#include "guest/profile/sandbox.h"
#include "supervisor/say.h"

namespace oboro::supervisor {
namespace {

// What a busy host may need, or one that is emulated itself. A guest whose tables keep the builder busy does not get so
// much: of the processor it has less (lockdown.cpp).
constexpr int kProfileTimeoutMs = 60000;

}  // namespace

using Served = KernelDesk::Served;

// Whatever the channel's trouble is, there is nobody to talk to any more.
Result<Served> KernelDesk::serve() {
  Result<link::Message> message = link::receive_message(socket_, 0);
  if (!message && message.error().code == Errc::io) return Served::tracer_is_gone;
  if (!message) return message.error();
  switch (message->type) {
    case 'K':
      return identify(*message);
    case 'A':
      return armed(message->payload);
    case 'V':
      machine_found_ = true;
      return Served::yes;
    case 'W': {
      if (status_.state != "detaching") say(fmt::format("the guest is not let go yet: {}", message->payload));
      status_.state = "detaching";
      status_.error = message->payload;
      return save();
    }
    case 'D': {
      status_.state = "detached";
      status_.error.clear();
      say(fmt::format("the guest runs on untraced: {}", message->payload));
      return save();
    }
    case 'R': {
      status_.state = "booting";
      return save();
    }
    case 'U':
      return refuse(message->payload);
    default:
      return Error{Errc::invalid, "the tracer sent a message that is not understood"};
  }
}

// The state directory cannot be written: what this run does would not be known.
Result<Served> KernelDesk::save() {
  if (auto written = store::write_status(state_dir_, status_); !written)
    return Error{written.error().code, "the guest was ended: " + written.error().message};
  return Served::yes;
}

Served KernelDesk::answer(char type, std::string_view payload) const {
  return link::send_message(socket_, type, payload) ? Served::yes : Served::tracer_is_gone;
}

Result<Served> KernelDesk::refuse(const std::string& why) {
  status_.error = why;
  if (allow_untraced_) {
    say(fmt::format("NOT TRACED: {}. The guest runs on untraced, as --allow-untraced asks for.", why));
    status_.state = "untraced";
    if (auto written = store::write_status(state_dir_, status_); !written) say(written.error().message);
    return answer('C', {});
  }
  untraceable_ = true;
  return Error{Errc::unsupported,
               fmt::format("this guest cannot be traced: {}. It was stopped before any program in it ran "
                           "(--allow-untraced would run it untraced).",
                           why)};
}

// Lines: release, build ID, hooks, 1 if the profile was cached, milliseconds.
Result<Served> KernelDesk::armed(std::string_view payload) {
  std::vector<std::string> lines;
  while (!payload.empty()) {
    const size_t end = payload.find('\n');
    lines.emplace_back(payload.substr(0, end));
    payload = end == std::string_view::npos ? std::string_view() : payload.substr(end + 1);
  }
  if (lines.size() != 5) return Error{Errc::invalid, "the tracer sent a message that is not understood"};
  status_.state = "tracing";
  status_.kernel_release = lines[0];
  status_.build_id = lines[1];
  status_.hooks_armed = strtoull(lines[2].c_str(), nullptr, 10);
  status_.profile_cached = lines[3] == "1";
  status_.arm_ms = strtod(lines[4].c_str(), nullptr);
  was_armed_ = true;
  if (auto saved = save(); !saved) return saved;
  const std::optional<Kernel> kernel = std::exchange(doubtful_, std::nullopt);
  return kernel ? verify(*kernel) : Served::yes;
}

Result<Served> KernelDesk::identify(link::Message& message) {
  const size_t space = message.payload.find(' ');
  char* end = nullptr;
  const std::string base_text = space == std::string::npos ? std::string() : message.payload.substr(space + 1);
  const uint64_t base = strtoull(base_text.c_str(), &end, 16);
  if (!message.fd || base_text.empty() || *end) return answer('E', "malformed question about a kernel");
  Kernel kernel{message.payload.substr(0, space), Gva(base), std::move(message.fd), {}};
  if (const auto cached = kernel.key.empty() ? std::nullopt : cache_.load(kernel.key)) {
    kernel.cached = cached->format();
    doubtful_ = std::move(kernel);
    return answer('P', doubtful_->cached);
  }
  Result<guest::Profile> profile = build(kernel);
  if (!profile) return answer('E', profile.error().message.substr(0, 4096));
  remember(kernel, *profile);
  return answer('N', profile->format());
}

Result<guest::Profile> KernelDesk::build(const Kernel& kernel) const {
  return guest::build_profile_sandboxed(kernel.image.get(), kernel.base, builder_, kProfileTimeoutMs);
}

void KernelDesk::remember(const Kernel& kernel, const guest::Profile& profile) const {
  if (kernel.key.empty()) return;  // nothing to know it by
  if (auto stored = cache_.store(kernel.key, profile); !stored)
    say(fmt::format("the kernel's profile is not cached: {}", stored.error().message));
}

// A build ID is only what a kernel says of itself: another guest, with a kernel that lies, may have filled the cache.
// So what was cached is held against this kernel's own tables, while the guest runs already.
Result<Served> KernelDesk::verify(const Kernel& kernel) {
  const Result<guest::Profile> profile = build(kernel);
  if (profile && profile->format() == kernel.cached) return Served::yes;
  if (!profile)
    return Error{
        profile.error().code,
        fmt::format("it cannot be told whether this guest's kernel is the one that its build ID stands for: {}",
                    profile.error().message)};
  remember(kernel, *profile);
  return Error{Errc::invalid,
               "the cached profile of this kernel was another kernel's with the same build ID. It has been replaced; "
               "the guest was ended, as it was not traced rightly: start it again"};
}

}  // namespace oboro::supervisor
