// Preloaded into a program under test: counts its calls of some kinds, and at one of them does what FAULTS_CALL says:
//
//   FAULTS_CALL="CALL N COUNT ACTION"   at the N-th call of that kind, and at the COUNT - 1 after it
//   FAULTS_SEEN=FILE                    gets what was counted (struct Seen), as it is counted
//   FAULTS_FORKS=N                      not in this process, but in its descendant after N forks (default 0)
//
// CALL: a name of kNames. ACTION: the name or number of an error, with which the call fails; `short` (half of the bytes
// are written); `kill` (SIGKILL, before the call), `killed` (after it), `torn` (half of the bytes, then SIGKILL);
// `term` (SIGTERM, then the call). It is not handed on to other programs, and counts in this process alone, not in its
// children.

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

extern "C" void* __libc_malloc(size_t);

namespace {

enum Call {
  kWrite,
  kPwrite,
  kSync,
  kRename,
  kLink,
  kUnlink,
  kOpen,
  kTruncate,
  kAllocate,
  kMmap,
  kMemfd,
  kMkdir,
  kMalloc,
  kFork,
  kThread,
  kSocket,
  kCalls
};
constexpr const char* kNames[kCalls] = {"write",  "pwrite",   "sync",     "rename", "link",  "unlink",
                                        "open",   "truncate", "allocate", "mmap",   "memfd", "mkdir",
                                        "malloc", "fork",     "thread",   "socket"};

// tools/oborotools/faults/injector.py reads it.
struct Seen {
  std::atomic<uint64_t> fired, counts[kCalls], file_count;
  // What a power loss leaves of the files that were opened to be written: only bytes that were synchronised.
  struct File {
    uint64_t inode, synced;
  } files[1024];
};

enum class Action : uint8_t { fail, part, kill, killed, torn, term };
enum class Then : uint8_t { go_on, fail, part, die, part_and_die };

Seen* seen;
pid_t owner;
int forks_left;
int call = -1;
long first, count;
Action action;
int error;
std::atomic_flag files_taken = ATOMIC_FLAG_INIT;

[[noreturn]] void die() {
  for (;;) kill(owner, SIGKILL);
}

bool mine() { return seen != nullptr && syscall(SYS_getpid) == owner; }

Then arrive(Call at) {
  if (!mine()) return Then::go_on;
  const auto number = static_cast<long>(++seen->counts[at]);
  if (at != call || number < first || number >= first + count) return Then::go_on;
  ++seen->fired;
  switch (action) {
    case Action::fail:
      errno = error;
      return Then::fail;
    case Action::part:
      return Then::part;
    case Action::kill:
      die();
    case Action::killed:
      return Then::die;
    case Action::torn:
      return Then::part_and_die;
    case Action::term:
      kill(owner, SIGTERM);
      break;
  }
  return Then::go_on;
}

template <typename T>
T leave(Then then, T result) {
  if (then == Then::die || then == Then::part_and_die) die();
  return result;
}

// Of a file that was not synchronised since it was opened, that is there which was there then.
void remember(int fd, bool is_synced) {
  struct stat now {};
  const int before = errno;
  if (!mine() || fd < 0 || fstat(fd, &now) != 0 || !S_ISREG(now.st_mode)) {
    errno = before;
    return;
  }
  while (files_taken.test_and_set()) {
  }
  const uint64_t known = seen->file_count;
  uint64_t i = 0;
  while (i < known && seen->files[i].inode != now.st_ino) ++i;
  if (i < sizeof seen->files / sizeof *seen->files && (i == known || is_synced || now.st_size == 0)) {
    seen->files[i] = {now.st_ino, static_cast<uint64_t>(now.st_size)};
    if (i == known) ++seen->file_count;
  }
  files_taken.clear();
  errno = before;
}

template <typename T>
T next(const char* name) {
  return reinterpret_cast<T>(dlsym(RTLD_NEXT, name));
}

int error_of(const char* name) {
  constexpr struct {
    const char* name;
    int number;
  } kErrors[] = {{"ENOSPC", ENOSPC}, {"EIO", EIO},       {"EINTR", EINTR},   {"ENOMEM", ENOMEM}, {"EMFILE", EMFILE},
                 {"EAGAIN", EAGAIN}, {"EACCES", EACCES}, {"EDQUOT", EDQUOT}, {"EEXIST", EEXIST}};
  for (const auto& one : kErrors)
    if (strcmp(name, one.name) == 0) return one.number;
  return atoi(name);
}

[[noreturn]] void not_understood() {
  static const char kWords[] = "faults: FAULTS_CALL or FAULTS_SEEN is not understood\n";
  (void)!write(STDERR_FILENO, kWords, sizeof kWords - 1);
  _exit(99);
}

__attribute__((constructor)) void begin() {
  const char* file = getenv("FAULTS_SEEN");
  if (file == nullptr) return;
  const int fd = static_cast<int>(syscall(SYS_openat, AT_FDCWD, file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (fd < 0 || syscall(SYS_ftruncate, fd, sizeof(Seen)) != 0) not_understood();
  const long at = syscall(SYS_mmap, nullptr, sizeof(Seen), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  syscall(SYS_close, fd);
  if (at == -1) not_understood();
  char name[16] = {}, what[16] = {};
  const char* plan = getenv("FAULTS_CALL");
  if (plan != nullptr) {
    if (sscanf(plan, "%15s %ld %ld %15s", name, &first, &count, what) != 4) not_understood();
    for (int i = 0; i < kCalls; ++i)
      if (strcmp(name, kNames[i]) == 0) call = i;
    constexpr const char* kActions[] = {"fail", "short", "kill", "killed", "torn", "term"};
    action = Action::fail;
    for (uint8_t i = 1; i < sizeof kActions / sizeof *kActions; ++i)
      if (strcmp(what, kActions[i]) == 0) action = static_cast<Action>(i);
    error = action == Action::fail ? error_of(what) : 0;
    if (call < 0 || (action == Action::fail && error <= 0)) not_understood();
  }
  const char* forks = getenv("FAULTS_FORKS");
  forks_left = forks != nullptr ? atoi(forks) : 0;
  unsetenv("FAULTS_FORKS");
  unsetenv("FAULTS_CALL");
  unsetenv("FAULTS_SEEN");
  unsetenv("LD_PRELOAD");
  if (forks_left == 0) owner = static_cast<pid_t>(syscall(SYS_getpid));
  seen = reinterpret_cast<Seen*>(at);  // from here on calls count
}

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

#define WRAPPED(kind, type, failed, name, parameters, arguments) \
  EXPORT type name parameters {                                  \
    static const auto real = next<type(*) parameters>(#name);    \
    const Then then = arrive(kind);                              \
    if (then == Then::fail) return failed;                       \
    return leave(then, real arguments);                          \
  }

WRAPPED(kRename, int, -1, rename, (const char* from, const char* to), (from, to))
WRAPPED(kLink, int, -1, link, (const char* from, const char* to), (from, to))
WRAPPED(kUnlink, int, -1, unlink, (const char* path), (path))
WRAPPED(kTruncate, int, -1, ftruncate, (int fd, off_t size), (fd, size))
WRAPPED(kTruncate, int, -1, ftruncate64, (int fd, off_t size), (fd, size))
WRAPPED(kAllocate, int, error, posix_fallocate, (int fd, off_t at, off_t size), (fd, at, size))
WRAPPED(kAllocate, int, error, posix_fallocate64, (int fd, off_t at, off_t size), (fd, at, size))
WRAPPED(kMmap, void*, MAP_FAILED, mmap, (void* at, size_t size, int prot, int flags, int fd, off_t offset),
        (at, size, prot, flags, fd, offset))
WRAPPED(kMmap, void*, MAP_FAILED, mmap64, (void* at, size_t size, int prot, int flags, int fd, off_t offset),
        (at, size, prot, flags, fd, offset))
WRAPPED(kMemfd, int, -1, memfd_create, (const char* name, unsigned flags), (name, flags))
WRAPPED(kMkdir, int, -1, mkdir, (const char* path, mode_t mode), (path, mode))
WRAPPED(kThread, int, error, pthread_create,
        (pthread_t * thread, const pthread_attr_t* how, void* (*run)(void*), void* argument),
        (thread, how, run, argument))
WRAPPED(kSocket, int, -1, socket, (int domain, int type, int protocol), (domain, type, protocol))
WRAPPED(kSocket, int, -1, socketpair, (int domain, int type, int protocol, int* ends), (domain, type, protocol, ends))

#define SYNC(name)                                      \
  EXPORT int name(int fd) {                             \
    static const auto real = next<int (*)(int)>(#name); \
    const Then then = arrive(kSync);                    \
    if (then == Then::fail) return -1;                  \
    const int result = real(fd);                        \
    if (result == 0) remember(fd, true);                \
    return leave(then, result);                         \
  }
SYNC(fsync)
SYNC(fdatasync)

EXPORT pid_t fork() {
  static const auto real = next<pid_t (*)()>("fork");
  const Then then = arrive(kFork);
  if (then == Then::fail) return -1;
  const pid_t child = real();
  if (child != 0) return leave(then, child);
  if (--forks_left == 0) owner = static_cast<pid_t>(syscall(SYS_getpid));
  return 0;
}

EXPORT ssize_t write(int fd, const void* data, size_t size) {
  static const auto real = next<ssize_t (*)(int, const void*, size_t)>("write");
  const Then then = arrive(kWrite);
  if (then == Then::fail) return -1;
  return leave(then, real(fd, data, then == Then::part || then == Then::part_and_die ? (size + 1) / 2 : size));
}

#define PWRITE(name)                                                                    \
  EXPORT ssize_t name(int fd, const void* data, size_t size, off_t at) {                \
    static const auto real = next<ssize_t (*)(int, const void*, size_t, off_t)>(#name); \
    const Then then = arrive(kPwrite);                                                  \
    if (then == Then::fail) return -1;                                                  \
    const bool part = then == Then::part || then == Then::part_and_die;                 \
    return leave(then, real(fd, data, part ? (size + 1) / 2 : size, at));               \
  }
PWRITE(pwrite)
PWRITE(pwrite64)

namespace {

int opened(int directory, const char* path, int flags, mode_t mode) {
  static const auto real = next<int (*)(int, const char*, int, ...)>("openat");
  const Then then = arrive(kOpen);
  if (then == Then::fail) return -1;
  const int fd = real(directory, path, flags, mode);
  if ((flags & O_ACCMODE) != O_RDONLY) remember(fd, false);
  return leave(then, fd);
}

}  // namespace

#define OPEN(name)                                    \
  EXPORT int name(const char* path, int flags, ...) { \
    va_list more;                                     \
    va_start(more, flags);                            \
    const mode_t mode = va_arg(more, mode_t);         \
    va_end(more);                                     \
    return opened(AT_FDCWD, path, flags, mode);       \
  }
OPEN(open)
OPEN(open64)
EXPORT int __open_2(const char* path, int flags) { return opened(AT_FDCWD, path, flags, 0); }
EXPORT int __open64_2(const char* path, int flags) { return opened(AT_FDCWD, path, flags, 0); }

EXPORT void* malloc(size_t size) {
  const Then then = arrive(kMalloc);
  if (then == Then::fail) return nullptr;
  return leave(then, __libc_malloc(size));
}
