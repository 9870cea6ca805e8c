#include "proxy/lockdown.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/mount.h>  // not <sys/mount.h>: with some versions of the C library the two contradict each other
#include <optional>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

#include "base/landlock.h"

namespace oboro::proxy {
namespace {

constexpr uid_t kNobody = 65534;
constexpr size_t kOwnDescriptors = 64;  // the channel, epoll, and descriptors that a call has open while it runs
constexpr uint16_t kFirstFreePort = 1024;
constexpr int kDetach = 2;  // MNT_DETACH

Error refused(std::string_view what) { return {Errc::io, fmt::format("lockdown: {}: {}", what, std::strerror(errno))}; }

bool write_file(const std::string& path, const std::string& text) {
  const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return fd && write_all(fd.get(), text);
}

// A user namespace in which root's files on disk are nobody's. Nothing: the host gives none.
UniqueFd mapping_of_root() {
  const pid_t parent = getpid();
  const auto child = static_cast<pid_t>(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
  if (child < 0) return {};
  if (child == 0) {
    // We may be killed before we end it.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (getppid() == parent) pause();
    _exit(1);
  }
  const std::string process = fmt::format("/proc/{}", child);
  const std::string map = fmt::format("0 {} 1", kNobody);
  UniqueFd space;
  if (write_file(process + "/uid_map", map) && write_file(process + "/gid_map", map))
    space = UniqueFd(open((process + "/ns/user").c_str(), O_RDONLY | O_CLOEXEC));
  kill(child, SIGKILL);
  while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  return space;
}

// True: this used a user namespace, because the process lacks the privileges to do without.
Result<bool> leave_namespaces(bool network) {
  const int wanted =
      CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP | (network ? 0 : CLONE_NEWNET);
  if (unshare(wanted) == 0) return false;
  if (errno != EPERM) return refused("own namespaces");
  const uid_t user = geteuid();
  const gid_t group = getegid();
  if (unshare(wanted | CLONE_NEWUSER) != 0)
    return refused("own namespaces (unless root starts it, user namespaces have to be allowed)");
  // setgroups: without this only root may write the map of groups.
  if (!write_file("/proc/self/setgroups", "deny") ||
      !write_file("/proc/self/uid_map", fmt::format("{0} {0} 1", user)) ||
      !write_file("/proc/self/gid_map", fmt::format("{0} {0} 1", group)))
    return refused("own user namespace");
  return true;
}

// The current directory becomes the only file system. `mapping` is reset if the file system cannot take it.
Result<UniqueFd> leave_file_systems(UniqueFd& mapping) {
  const UniqueFd tree(
      static_cast<int>(syscall(SYS_open_tree, AT_FDCWD, ".", unsigned{OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC})));
  if (!tree) return refused("the root directory");
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  attributes.propagation = MS_PRIVATE;
  const auto set = [&] {
    return syscall(SYS_mount_setattr, tree.get(), "", AT_EMPTY_PATH, &attributes, sizeof attributes);
  };
  if (mapping) {
    mount_attr with_mapping = attributes;
    with_mapping.attr_set |= MOUNT_ATTR_IDMAP;
    with_mapping.userns_fd = static_cast<uint64_t>(mapping.get());
    std::swap(attributes, with_mapping);
    if (set() != 0) mapping.reset();
    attributes = with_mapping;
  }
  if (!mapping && set() != 0) return refused("mount_setattr");
  if (syscall(SYS_mount, nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return refused("private mounts");
  if (syscall(SYS_move_mount, tree.get(), "", AT_FDCWD, ".", MOVE_MOUNT_F_EMPTY_PATH) != 0)
    return refused("move_mount");
  // Both are at the same place, so the old root lies on top of the new one.
  if (fchdir(tree.get()) != 0 || syscall(SYS_pivot_root, ".", ".") != 0) return refused("pivot_root");
  if (syscall(SYS_umount2, ".", kDetach) != 0 || chdir("/") != 0) return refused("the host's file systems");
  UniqueFd root(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root) return refused("the root directory");
  return root;
}

Result<void> become(uid_t user, gid_t group) {
  // In a container setgroups may be denied.
  if (setgroups(0, nullptr) != 0 && errno != EPERM) return refused("setgroups");
  if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0) return refused("capabilities");
  if (setresgid(group, group, group) != 0) return refused("setresgid");
  if (setresuid(user, user, user) != 0) return refused("setresuid");
  return {};
}

Result<void> drop_capabilities(uint32_t keep = 0) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> kept{};
  kept[0].effective = kept[0].permitted = keep;
  if (syscall(SYS_capset, &header, kept.data()) != 0) return refused("capset");
  return {};
}

Result<void> limit(__rlimit_resource resource, rlim_t value, const char* what) {
  const rlimit both{value, value};
  if (setrlimit(resource, &both) != 0) return refused(what);
  return {};
}

Result<void> restrict_by_landlock(int root, const Confinement& wanted) {
  using namespace landlock;
  const long known = version();
  // The first version forbids all renames from one directory to another.
  if (known < 2) return {};
  Ruleset rules;
  rules.files = kFirst | kRefer | (known >= 3 ? kTruncate : 0) | (known >= 5 ? kIoctlDevice : 0);
  const bool connects_anywhere = wanted.network && !wanted.connect;
  if (known >= 4) rules.network = kBindTcp | (connects_anywhere ? 0 : kConnectTcp);
  if (known >= 6) rules.scopes = kAbstractSocket | kSignal;
  const UniqueFd set = create(rules);
  if (!set) return refused("landlock");
  const uint64_t beneath = rules.files & ~(kExecute | kMakeChar | kMakeSock | kMakeFifo | kMakeBlock | kIoctlDevice);
  if (!allow_beneath(set, root, beneath)) return refused("landlock");
  if (rules.network && wanted.network) {
    if (!allow_port(set, 0, kBindTcp))
      return refused("landlock");  // a port of the kernel's choice; sockets.h lets nobody listen on it
    for (const uint16_t port : wanted.listen)
      if (!allow_port(set, port, kBindTcp)) return refused("landlock");
    for (const uint16_t port : wanted.connect.value_or(std::set<uint16_t>()))
      if (!allow_port(set, port, kConnectTcp)) return refused("landlock");
  }
  if (!restrict_self(set)) return refused("landlock");
  return {};
}

// The rest of the parent's life. The child knows by the parent's end of the pipe that there is a parent.
[[noreturn]] void stand_for(pid_t child, UniqueFd alive) {
  // With this capability the kernel would not kill a child of another user when its parent dies.
  (void)drop_capabilities(1U << CAP_KILL);
  (void)dup2(alive.get(), 0);
  syscall(SYS_close_range, 1, ~0U, 0);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status)) {
    signal(WTERMSIG(status), SIG_DFL);
    raise(WTERMSIG(status));
  }
  _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

Result<UniqueFd> in_child(bool own_users, const struct stat& owner, UniqueFd mapping, const Confinement& wanted) {
  auto root = leave_file_systems(mapping);
  if (!root) return root.error();
  // Before the user changes: only root may raise a limit.
  if (auto set = limit(RLIMIT_NOFILE, wanted.files + kOwnDescriptors, "that many files"); !set) return set.error();
#ifndef OBORO_SANITIZED  // a sanitizer's shadow memory takes terabytes of it
  if (auto set = limit(RLIMIT_AS, wanted.memory, "that much memory"); !set) return set.error();
#endif
  if (!own_users) {
    const auto became = mapping ? become(kNobody, kNobody) : become(owner.st_uid, owner.st_gid);
    if (!became) return became.error();
  }
  const bool low_ports =
      wanted.network && !own_users &&
      std::any_of(wanted.listen.begin(), wanted.listen.end(), [](uint16_t port) { return port < kFirstFreePort; });
  if (auto dropped = drop_capabilities(low_ports ? 1U << CAP_NET_BIND_SERVICE : 0); !dropped) return dropped.error();
  if (auto restricted = restrict_by_landlock(root->get(), wanted); !restricted) return restricted.error();
  return root;
}

}  // namespace

Result<UniqueFd> confine(UniqueFd root, const Confinement& wanted) {
  struct stat owner {};
  if (fstat(root.get(), &owner) != 0) return refused("the root directory");
  if (!S_ISDIR(owner.st_mode)) return Error{Errc::invalid, "the root is no directory"};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return refused("no_new_privs");
  if (auto set = limit(RLIMIT_CORE, 0, "no core files"); !set) return set.error();
  UniqueFd mapping = geteuid() == 0 && owner.st_uid == 0 ? mapping_of_root() : UniqueFd();
  // An open directory belongs to the old mounts. Only the current directory moves to the new ones.
  if (fchdir(root.get()) != 0) return refused("the root directory");
  root.reset();
  const uid_t user = geteuid();
  const auto own_users = leave_namespaces(wanted.network);
  if (!own_users) return own_users.error();
  if (*own_users && owner.st_uid != user)
    return Error{Errc::io,
                 fmt::format("lockdown: the root directory is user {}'s: only root could work there for user {}",
                             owner.st_uid, user)};

  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return refused("pipe");
  UniqueFd parent(ends[0]), alive(ends[1]);
  const pid_t child = fork();  // only a child is in the new PID namespace
  if (child < 0) return refused("fork");
  if (child > 0) stand_for(child, std::move(alive));
  alive.reset();
  auto confined = in_child(*own_users, owner, std::move(mapping), wanted);
  if (!confined) return confined;
  // At the end, because a change of user undoes both.
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return refused("prctl");
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) return refused("prctl");
  pollfd gone{parent.get(), POLLIN, 0};
  if (poll(&gone, 1, 0) != 0) return Error{Errc::io, "lockdown: killed"};
  return confined;
}

}  // namespace oboro::proxy
