#include "guest/profile/lockdown.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <grp.h>
#include <linux/capability.h>
#include <memory>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utility>

namespace oboro::guest {
namespace {

constexpr uid_t kNobody = 65534;
[[maybe_unused]] constexpr rlim_t kMemory = 1 << 30;
constexpr rlim_t kProcessorSeconds = 30;
constexpr rlim_t kOutput = 1 << 20;

Error refused(std::string_view what) { return {Errc::io, fmt::format("sandbox: {}: {}", what, std::strerror(errno))}; }

Result<void> limit_resources() {
  const std::array limits = {
      std::pair<__rlimit_resource, rlim_t>{RLIMIT_CPU, kProcessorSeconds},
      std::pair<__rlimit_resource, rlim_t>{RLIMIT_CORE, 0},
      std::pair<__rlimit_resource, rlim_t>{RLIMIT_NPROC, 0},
      std::pair<__rlimit_resource, rlim_t>{RLIMIT_FSIZE, kOutput},
#ifndef OBORO_SANITIZED  // a sanitizer's shadow memory takes terabytes of address space, and vptr checks a pipe
      std::pair<__rlimit_resource, rlim_t>{RLIMIT_NOFILE, 0},
      std::pair<__rlimit_resource, rlim_t>{RLIMIT_AS, kMemory},
#endif
  };
  for (const auto& [resource, value] : limits) {
    // At the soft limit, SIGXCPU says which limit it was.
    const rlimit limit{value, resource == RLIMIT_CPU ? value + 1 : value};
    if (setrlimit(resource, &limit) != 0) return refused("setrlimit");
  }
  return {};
}

Result<void> drop_privileges() {
  if (geteuid() == 0) {
    // Root needs no user namespace for these. With one, setresuid() below would have no nobody to go to.
    (void)unshare(CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS);
    // In a user namespace root may be nobody much already: groups are denied (EPERM), and nobody is not mapped
    // (EINVAL).
    if (setgroups(0, nullptr) != 0 && errno != EPERM) return refused("setgroups");
    if (setresgid(kNobody, kNobody, kNobody) != 0 && errno != EINVAL) return refused("setresgid");
    if (setresuid(kNobody, kNobody, kNobody) != 0 && errno != EINVAL) return refused("setresuid");
  } else {
    (void)unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS);
  }
  // Drops also the capabilities that a new user namespace gave.
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  const std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> none{};
  if (syscall(SYS_capset, &header, none.data()) != 0) return refused("capset");
  return {};
}

// libseccomp's own macros leave members out, which is a warning here.
scmp_arg_cmp where(unsigned argument, scmp_compare operation, scmp_datum_t a, scmp_datum_t b = 0) {
  return {argument, operation, a, b};
}

[[maybe_unused]] Result<void> filter_system_calls() {
  struct Release {
    void operator()(void* filter) const { seccomp_release(filter); }
  };
  const std::unique_ptr<void, Release> filter(seccomp_init(SCMP_ACT_KILL_PROCESS));
  if (!filter) return Error{Errc::io, "sandbox: seccomp_init failed"};
  int error = 0;
  auto allow = [&](int call, auto... conditions) {
    const std::array<scmp_arg_cmp, sizeof...(conditions)> array{conditions...};
    const int result = seccomp_rule_add_array(filter.get(), SCMP_ACT_ALLOW, call, array.size(), array.data());
    if (error == 0) error = result;
  };
  for (int fd : {STDOUT_FILENO, STDERR_FILENO})
    allow(SCMP_SYS(write), where(0, SCMP_CMP_EQ, static_cast<scmp_datum_t>(fd)));
  allow(SCMP_SYS(mmap), where(2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0),
        where(3, SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, MAP_ANONYMOUS));
  for (int call : {SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(brk), SCMP_SYS(futex),
                   SCMP_SYS(rt_sigreturn), SCMP_SYS(exit), SCMP_SYS(exit_group)})
    allow(call);
  if (error == 0) error = seccomp_load(filter.get());
  if (error != 0) return Error{Errc::io, fmt::format("sandbox: seccomp: {}", std::strerror(-error))};
  return {};
}

}  // namespace

Result<void> lock_down() {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return refused("no_new_privs");
  if (syscall(SYS_close_range, 3, ~0U, 0) != 0) return refused("close_range");
  if (auto dropped = drop_privileges(); !dropped) return dropped;
  if (auto limited = limit_resources(); !limited) return limited;
#ifdef OBORO_SANITIZED
  return {};  // a sanitizer's run time asks the kernel for all sorts of things, pipes among them
#else
  return filter_system_calls();
#endif
}

}  // namespace oboro::guest
