// The system calls that a locked-in proxy may make.
#include <array>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/futex.h>
#include <linux/sockios.h>
#include <memory>
#include <netinet/in.h>
#include <seccomp.h>
#include <set>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "proxy/lockdown.h"
#include "proxy/sockets.h"

namespace oboro::proxy {
namespace {

struct Rule {
  int call;
  std::vector<scmp_arg_cmp> conditions{};
};

scmp_datum_t datum(int64_t value) { return static_cast<scmp_datum_t>(value); }
// libseccomp's own macros leave members out, which is a warning here.
scmp_arg_cmp is(unsigned argument, int64_t value) { return {argument, SCMP_CMP_EQ, datum(value), 0}; }
scmp_arg_cmp has(unsigned argument, int64_t mask, int64_t value) {
  return {argument, SCMP_CMP_MASKED_EQ, datum(mask), datum(value)};
}

void add_network(std::vector<Rule>& rules) {
  for (const int family : {AF_INET, AF_INET6})
    for (const auto& [type, protocol] : {std::pair(SOCK_STREAM, IPPROTO_TCP), std::pair(SOCK_DGRAM, IPPROTO_UDP)})
      for (const int given : {0, static_cast<int>(protocol)})
        rules.push_back({SCMP_SYS(socket), {is(0, family), is(1, type | SOCK_CLOEXEC | SOCK_NONBLOCK), is(2, given)}});
  rules.push_back({SCMP_SYS(accept4), {is(3, SOCK_CLOEXEC | SOCK_NONBLOCK)}});
  // A send must not make a connection, because Landlock would not see that.
  rules.push_back({SCMP_SYS(sendto), {has(3, MSG_FASTOPEN, 0)}});
  for (const SocketOption& option : socket_options())
    for (const int call : {SCMP_SYS(getsockopt), SCMP_SYS(setsockopt)})
      rules.push_back({call, {is(1, option.level), is(2, option.name)}});
  rules.push_back({SCMP_SYS(epoll_create1), {is(0, EPOLL_CLOEXEC)}});
  for (const int operation : {EPOLL_CTL_MOD, EPOLL_CTL_DEL}) rules.push_back({SCMP_SYS(epoll_ctl), {is(1, operation)}});
  for (const int call : {SCMP_SYS(connect), SCMP_SYS(bind), SCMP_SYS(listen), SCMP_SYS(recvmsg), SCMP_SYS(shutdown),
                         SCMP_SYS(getsockname), SCMP_SYS(getpeername)})
    rules.push_back({call});
}

std::vector<Rule> rules_of(bool network) {
  std::vector<Rule> rules;
  for (const int call :
       {// Memory and threads. restart_syscall: a poll that was stopped goes on by it.
        SCMP_SYS(munmap), SCMP_SYS(brk), SCMP_SYS(rt_sigprocmask), SCMP_SYS(exit), SCMP_SYS(exit_group),
        SCMP_SYS(restart_syscall), SCMP_SYS(clock_gettime), SCMP_SYS(epoll_wait), SCMP_SYS(poll),
        // Files.
        SCMP_SYS(openat2), SCMP_SYS(close), SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(pread64), SCMP_SYS(pwrite64),
        SCMP_SYS(lseek), SCMP_SYS(statx), SCMP_SYS(fstatfs), SCMP_SYS(faccessat2), SCMP_SYS(ftruncate),
        SCMP_SYS(fallocate), SCMP_SYS(fsync), SCMP_SYS(fdatasync), SCMP_SYS(flock), SCMP_SYS(renameat2),
        SCMP_SYS(linkat), SCMP_SYS(unlinkat), SCMP_SYS(mkdirat), SCMP_SYS(symlinkat), SCMP_SYS(readlinkat),
        SCMP_SYS(fchmod), SCMP_SYS(fgetxattr), SCMP_SYS(fsetxattr), SCMP_SYS(utimensat), SCMP_SYS(getdents64)})
    rules.push_back({call});
  rules.push_back({SCMP_SYS(mmap), {is(2, PROT_READ | PROT_WRITE), has(3, MAP_ANONYMOUS, MAP_ANONYMOUS)}});
  rules.push_back({SCMP_SYS(mremap), {is(3, MREMAP_MAYMOVE)}});
  for (const int advice : {MADV_DONTNEED, MADV_HUGEPAGE}) rules.push_back({SCMP_SYS(madvise), {is(2, advice)}});
  for (const int operation : {FUTEX_WAIT, FUTEX_WAKE, FUTEX_REQUEUE, FUTEX_WAIT_BITSET, FUTEX_WAKE_BITSET})
    rules.push_back({SCMP_SYS(futex), {has(1, ~int64_t{FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME}, operation)}});
  rules.push_back({SCMP_SYS(epoll_ctl), {is(1, EPOLL_CTL_ADD)}});
  for (const int command : {F_GETFL, F_SETFL}) rules.push_back({SCMP_SYS(fcntl), {is(1, command)}});
  for (const int request : {FIONREAD, SIOCATMARK, SIOCOUTQ}) rules.push_back({SCMP_SYS(ioctl), {is(1, request)}});
  if (network) add_network(rules);
  return rules;
}

[[maybe_unused]] Result<void> filter_system_calls(bool network) {
  struct Release {
    void operator()(void* filter) const { seccomp_release(filter); }
  };
  const std::unique_ptr<void, Release> filter(seccomp_init(SCMP_ACT_KILL_PROCESS));
  if (!filter) return Error{Errc::io, "lockdown: seccomp_init failed"};
  int error = seccomp_attr_set(filter.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
  if (error == 0) error = seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_TSYNC, 1);
  for (const Rule& rule : rules_of(network))
    if (error == 0)
      error = seccomp_rule_add_array(filter.get(), SCMP_ACT_ALLOW, rule.call,
                                     static_cast<unsigned>(rule.conditions.size()), rule.conditions.data());
  if (error == 0) error = seccomp_load(filter.get());
  if (error != 0) return Error{Errc::io, fmt::format("lockdown: seccomp: {}", std::strerror(-error))};
  return {};
}

}  // namespace

std::vector<int> allowed_calls(bool network) {
  std::set<int> calls;
  for (const Rule& rule : rules_of(network)) calls.insert(rule.call);
  return {calls.begin(), calls.end()};
}

Result<void> seal(const Confinement& wanted) {
  const rlimit none{0, 0};
  if (setrlimit(RLIMIT_NPROC, &none) != 0)
    return Error{Errc::io, fmt::format("lockdown: setrlimit: {}", std::strerror(errno))};
#ifdef OBORO_SANITIZED
  (void)wanted;
  return {};  // a sanitizer's run time asks the kernel for all sorts of things
#else
  return filter_system_calls(wanted.network);
#endif
}

}  // namespace oboro::proxy
