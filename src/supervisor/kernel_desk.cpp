#include "supervisor/kernel_desk.h"

#include <fmt/format.h>
#include <poll.h>
#include <utility>

#include "supervisor/say.h"

namespace oboro::supervisor {
namespace {

// As much as a busy host may need, or one that is emulated itself. A guest whose tables keep the builder busy gets
// less: the builder's processor time has a limit of its own (lockdown.cpp).
constexpr int kProfileTimeoutMs = 60000;
constexpr size_t kMostWords = 4096;  // of a builder's message, for the tracer

}  // namespace

Result<void> KernelDesk::open() {
  Result<Loop::Watch> watch = loop_.readable(socket_, [this] { hear(); });
  if (!watch) return watch.error();
  watch_ = std::move(*watch);
  return {};
}

void KernelDesk::close() {
  watch_.drop();
  job_.reset();
  held_.reset();
  doubtful_.reset();
}

void KernelDesk::end_if_failed(const Result<void>& result) {
  if (result) return;
  close();
  failed_(result.error());
}

// Whatever the trouble with the channel is, there is nobody to talk to any more.
void KernelDesk::hear() {
  Result<link::Message> message = link::receive(socket_, 0);
  if (!message && message.error().code == Errc::io) {
    tracer_is_gone_ = true;
    watch_.drop();
    return;
  }
  end_if_failed(message ? serve(*message) : message.error());
}

bool KernelDesk::finds_machine() {
  pollfd said{socket_, POLLIN, 0};
  while (!machine_found_ && watch_ && poll(&said, 1, 0) == 1) hear();
  return machine_found_;
}

Result<void> KernelDesk::serve(link::Message& message) {
  switch (message.type()) {
    case link::Type::IdentifyKernel:
      return identify(message);
    case link::Type::Armed:
      return armed(*message.as<link::Armed>());
    case link::Type::MachineFound:
      machine_found_ = true;
      return {};
    case link::Type::NotDetached: {
      const std::string& who = message.as<link::NotDetached>()->who;
      if (status_.state != "detaching") say(fmt::format("the guest is not let go yet: {}", who));
      status_.state = "detaching";
      status_.error = who;
      return save();
    }
    case link::Type::Detached:
      status_.state = "detached";
      status_.error.clear();
      say(fmt::format("the guest runs on untraced: {}", message.as<link::Detached>()->why));
      return save();
    case link::Type::Doubt:
      doubted_(message.as<link::Doubt>()->why);
      return {};
    case link::Type::Reset:
      status_.state = "booting";
      return save();
    case link::Type::Untraceable:
      return refuse(message.as<link::Untraceable>()->why);
    default:
      return Error{Errc::invalid,
                   fmt::format("the tracer sent {}, which is not understood from it", link::name_of(message.type()))};
  }
}

// If the state directory cannot be written, nobody would know what this run does.
Result<void> KernelDesk::save() {
  if (auto written = store::write_status(state_dir_, status_); !written)
    return Error{written.error().code, "the guest was ended: " + written.error().message};
  return {};
}

void KernelDesk::answer(const link::Body& body) {
  if (link::send(socket_, body)) return;
  tracer_is_gone_ = true;
  watch_.drop();
}

Result<void> KernelDesk::refuse(const std::string& why) {
  status_.error = why;
  if (allow_untraced_) {
    say(fmt::format("NOT TRACED: {}. The guest runs on untraced, as --allow-untraced asks for.", why));
    status_.state = "untraced";
    if (auto written = store::write_status(state_dir_, status_); !written) say(written.error().message);
    answer(link::RunUntraced{});
    return {};
  }
  untraceable_ = true;
  return Error{Errc::unsupported,
               fmt::format("this guest cannot be traced: {}. It was stopped before any program in it ran "
                           "(--allow-untraced would run it untraced).",
                           why)};
}

Result<void> KernelDesk::armed(const link::Armed& message) {
  status_.state = "tracing";
  status_.kernel_release = message.release;
  status_.build_id = message.build_id;
  status_.hooks_armed = message.hooks;
  status_.profile_cached = message.cached;
  status_.arm_ms = static_cast<double>(message.microseconds) / 1000;
  was_armed_ = true;
  if (auto saved = save(); !saved) return saved;
  std::optional<Kernel> kernel = std::exchange(doubtful_, std::nullopt);
  // The profile is in the cache already, and its guest runs.
  return kernel ? build(std::move(*kernel)) : Result<void>();
}

Result<void> KernelDesk::identify(link::Message& message) {
  // A verification decides over the run, however soon the guest boots again. A profile that is only being built does
  // not, if its guest has a new question.
  if (job_ && !job_->kernel.cached.empty()) {
    held_ = std::move(message);
    return {};
  }
  job_.reset();
  doubtful_.reset();
  const auto& question = *message.as<link::IdentifyKernel>();
  if (message.fds.empty()) {
    answer(link::Failed{"a question about a kernel without its image"});
    return {};
  }
  Kernel kernel{question.build_id, Gva(question.base), std::move(message.fds[0]), {}};
  if (const auto cached = kernel.key.empty() ? std::nullopt : cache_.load(kernel.key)) {
    kernel.cached = cached->format();
    doubtful_ = std::move(kernel);
    answer(link::KernelProfile{true, doubtful_->cached});
    return {};
  }
  return build(std::move(kernel));
}

Result<void> KernelDesk::build(Kernel kernel) {
  Result<guest::ProfileBuild> build =
      guest::ProfileBuild::start(kernel.image.get(), kernel.base, builder_, kProfileTimeoutMs);
  if (!build) return built(kernel, build.error());
  Result<Loop::Watch> watch = loop_.readable(build->poll_fd(), [this] { proceed(); });
  if (!watch) return watch.error();
  job_.emplace(Job{std::move(kernel), std::move(*build), std::move(*watch)});
  return {};
}

void KernelDesk::proceed() {
  const std::optional<Result<guest::Profile>> profile = job_->build.proceed();
  if (!profile) return;
  const Kernel kernel = std::move(job_->kernel);
  job_.reset();
  Result<void> done = built(kernel, *profile);
  if (done && held_) {
    link::Message question = std::move(*held_);
    held_.reset();
    done = identify(question);
  }
  end_if_failed(done);
}

Result<void> KernelDesk::built(const Kernel& kernel, const Result<guest::Profile>& profile) {
  if (!kernel.cached.empty()) return verified(kernel, profile);
  if (!profile) {
    answer(link::Failed{profile.error().message.substr(0, kMostWords)});
    return {};
  }
  remember(kernel, *profile);
  answer(link::KernelProfile{false, profile->format()});
  return {};
}

void KernelDesk::remember(const Kernel& kernel, const guest::Profile& profile) const {
  if (kernel.key.empty()) return;  // there is nothing to know the kernel by
  if (auto stored = cache_.store(kernel.key, profile); !stored)
    say(fmt::format("the kernel's profile is not cached: {}", stored.error().message));
}

// A build ID is only what a kernel says of itself. Another guest, with a kernel that lies, may have filled the cache.
// So a cached profile is compared with this kernel's own tables, while the guest runs already.
Result<void> KernelDesk::verified(const Kernel& kernel, const Result<guest::Profile>& profile) const {
  if (profile && profile->format() == kernel.cached) return {};
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
