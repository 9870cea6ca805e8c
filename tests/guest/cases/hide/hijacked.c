// What a hidden service does that somebody has taken over: system calls at random, from a fixed seed. Every number there
// is, most of them those that a proxy may come to execute, with arguments that are right, nearly right, or anything; and
// calls whose arguments another thread changes while they are on their way.
//
//   hijacked calls N    at least N of them, each number several times, in processes that may well not live long; those that would end
//                       or change the test or its guest, in namespaces of their own
//   hijacked races N    calls with changing arguments
//   hijacked flood N    calls by 64 threads at once, none of which waits for more than it must
//   hijacked large N    threads that all write and read a MiB at once
//   hijacked sane WHEN  whether hidden calls are still what they should be
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { kLastCall = 470, kBatch = 200, kArea = 1 << 16, kThreads = 64 };

static uint64_t state = 1;
static uint64_t any(void) {  // xorshift64*
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return state * 0x2545f4914f6cdd1dULL;
}
static uint64_t below(uint64_t n) { return any() % n; }

// Those that end this program, its parent or its guest, stop the clock of the test, or never come back by themselves: they are made in a
// process that has a PID namespace, mounts and names of its own, and somebody who ends it.
static const int kApart[] = {
    SYS_exit, SYS_exit_group, SYS_kill, SYS_tgkill, SYS_tkill, SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo,
    SYS_pidfd_send_signal, SYS_rt_sigreturn, SYS_reboot, SYS_fork, SYS_vfork, SYS_clone, SYS_clone3, SYS_vhangup,
    SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_move_mount, SYS_mount_setattr, SYS_setns, SYS_unshare,
    SYS_swapon, SYS_swapoff, SYS_alarm, SYS_setitimer, SYS_ptrace, SYS_iopl, SYS_ioperm, SYS_sethostname,
    SYS_setdomainname, SYS_acct, SYS_setrlimit, SYS_prlimit64, SYS_sched_setscheduler, SYS_sched_setattr, SYS_seccomp,
    SYS_prctl,
};
// Those for which no namespace helps: root could set the guest's clock, load a kernel, take away modules or what the kernel says. They are
// made in a user namespace, too, where its kernel takes their arguments and then refuses.
static const int kPowerless[] = {
    SYS_settimeofday, SYS_clock_settime, SYS_adjtimex, SYS_clock_adjtime, SYS_kexec_load, SYS_kexec_file_load,
    SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_syslog, SYS_quotactl,
};
// Those that hidden descriptors and paths come to.
static const int kProxied[] = {
    SYS_read, SYS_write, SYS_open, SYS_close, SYS_stat, SYS_fstat, SYS_lstat, SYS_poll, SYS_lseek, SYS_mmap,
    SYS_ioctl, SYS_pread64, SYS_pwrite64, SYS_readv, SYS_writev, SYS_access, SYS_select, SYS_dup, SYS_dup2, SYS_sendfile,
    SYS_socket, SYS_connect, SYS_accept, SYS_sendto, SYS_recvfrom, SYS_sendmsg, SYS_recvmsg, SYS_shutdown, SYS_bind,
    SYS_listen, SYS_getsockname, SYS_getpeername, SYS_setsockopt, SYS_getsockopt, SYS_fcntl, SYS_flock, SYS_fsync,
    SYS_fdatasync, SYS_truncate, SYS_ftruncate, SYS_getdents, SYS_getcwd, SYS_chdir, SYS_fchdir, SYS_rename, SYS_mkdir,
    SYS_rmdir, SYS_creat, SYS_link, SYS_unlink, SYS_symlink, SYS_readlink, SYS_chmod, SYS_fchmod, SYS_chown,
    SYS_fchown, SYS_lchown, SYS_utime, SYS_mknod, SYS_statfs, SYS_fstatfs, SYS_setxattr, SYS_getxattr, SYS_listxattr,
    SYS_getdents64, SYS_fadvise64, SYS_epoll_wait, SYS_epoll_ctl, SYS_utimes, SYS_openat, SYS_mkdirat, SYS_mknodat,
    SYS_fchownat, SYS_futimesat, SYS_newfstatat, SYS_unlinkat, SYS_renameat, SYS_linkat, SYS_symlinkat, SYS_readlinkat,
    SYS_fchmodat, SYS_faccessat, SYS_pselect6, SYS_ppoll, SYS_splice, SYS_tee, SYS_sync_file_range, SYS_vmsplice,
    SYS_utimensat, SYS_epoll_pwait, SYS_fallocate, SYS_accept4, SYS_dup3, SYS_preadv, SYS_pwritev, SYS_recvmmsg,
    SYS_sendmmsg, SYS_renameat2, SYS_execveat, SYS_copy_file_range, SYS_preadv2, SYS_pwritev2, SYS_statx, SYS_openat2,
    SYS_close_range, SYS_faccessat2, SYS_epoll_pwait2, SYS_name_to_handle_at, SYS_open_tree, SYS_inotify_add_watch,
};
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const char* const kPaths[] = {
    "/var/secret", "/var/secret/", "/var/secret/a", "/var/secret/b", "/var/secret/d", "/var/secret/d/e", "/var/secret/l",
    "/var/secret/../../../../../../etc/passwd", "/var/secret/d/../../../hidden/beside/canary", "/var/secret/l/canary",
    "/var/secret/./a/..", "/var/secret//a", "var/secret/a", "a", "..", ".", "", "/", "/etc/passwd", "/tmp/x",
    "/proc/self/fd/5", "/proc/self/root/var/secret/a", "/dev/zero",
};
static const char* const kTargets[] = {"..", "../../beside", "/", "/../..", "a", "/proc/self/root", "l", "../beside/canary"};

static unsigned char* area;  // arguments live here; the page behind it is not there
static int fds[32];
static int fd_count, all_there;
static void* chunk(size_t size) { return area + below(kArea - size); }

static uint64_t some_path(void) {
  char* at = chunk(8192);
  switch (below(12)) {
    case 0:
      memset(at, 'x', 8191), at[8191] = 0, memcpy(at, "/var/secret/", 12);
      return (uint64_t)at;
    case 1:  // no end before the end of the page
      memset(area + kArea - 20, 'y', 20);
      memcpy(area + kArea - 20, "/var/secret/", 12);
      return (uint64_t)(area + kArea - 20);
    case 2: {
      size_t n = 0;
      memcpy(at, "/var/secret", 11);
      for (n = 11; n < 4000; n += 3) memcpy(at + n, "/..", 3);
      strcpy(at + n, "/hidden/beside/canary");
      return (uint64_t)at;
    }
    case 3:
      strcpy(at, kTargets[below(COUNT(kTargets))]);
      return (uint64_t)at;
    default:
      strcpy(at, kPaths[below(COUNT(kPaths))]);
      return (uint64_t)at;
  }
}

static uint64_t some_address(void) {
  struct sockaddr_in* in = chunk(sizeof *in);
  static const char* const hosts[] = {"127.0.0.1", "10.0.2.2", "0.0.0.0", "255.255.255.255", "224.0.0.1", "10.77.0.1", "169.254.1.1"};
  in->sin_family = below(8) ? AF_INET : below(50);
  in->sin_port = htons(below(4) ? 9 : below(65536));
  inet_pton(AF_INET, hosts[below(COUNT(hosts))], &in->sin_addr);
  return (uint64_t)in;
}

static uint64_t some_vector(void) {
  struct iovec* vector = chunk(64 * sizeof *vector);
  for (int i = 0; i < 64; ++i) {
    vector[i].iov_base = below(10) ? (void*)(area + below(kArea)) : (void*)any();
    vector[i].iov_len = below(10) ? below(3000) : any();
  }
  return (uint64_t)vector;
}

static uint64_t some_message(void) {
  struct msghdr* message = chunk(4 * 64);
  for (int i = 0; i < 3; ++i, message = (void*)((char*)message + 64)) {
    message->msg_name = (void*)some_address();
    message->msg_namelen = below(4) ? sizeof(struct sockaddr_in) : any();
    message->msg_iov = (void*)some_vector();
    message->msg_iovlen = below(4) ? below(64) : any();
    message->msg_control = below(3) ? NULL : chunk(256);
    message->msg_controllen = below(3) ? below(256) : any();
    message->msg_flags = any();
  }
  return (uint64_t)((char*)message - 3 * 64);
}

static uint64_t some_descriptor(void) {
  switch (below(12)) {
    case 0: return below(2000);
    case 1: return any();
    case 2: return (uint64_t)AT_FDCWD;
    default: return fds[below(fd_count)];
  }
}

static uint64_t some_argument(void) {
  switch (below(13)) {
    case 0: return 0;
    case 1: return below(16);
    case 2: return any();
    case 3: return 1ULL << below(64);
    case 4: return -(int64_t)below(200);
    case 5: return below(70000);
    case 6: return (uint64_t)(area + kArea - below(64));  // partly not there
    case 7: return (uint64_t)chunk(4096);
    case 8: return some_vector();
    case 9: return some_message();
    case 10: return some_address();
    case 11: return some_path();
    default: return some_descriptor();
  }
}

static void random_bytes(void* at, size_t size) {
  for (size_t i = 0; i + 8 <= size; i += 8) {
    uint64_t word = below(3) ? below(64) : any();
    memcpy((char*)at + i, &word, 8);
  }
}

// What others before did to the files is undone: calls are to find something.
static void clean(void) {
  static const char* const names[] = {"/var/secret/a", "/var/secret/b", "/var/secret/l", "/var/secret/large", "/var/secret/flood"};
  mkdir("/var/secret", 0700);
  chmod("/var/secret", 0700);
  for (size_t i = 0; i < COUNT(names); ++i)
    if (unlink(names[i]) != 0) rmdir(names[i]);
  chmod("/var/secret/d", 0700);
}

static void open_all(void) {
  int ends[2];
  clean();
  mkdir("/var/secret/d", 0700);
  symlink("../..", "/var/secret/l");
  area = mmap(NULL, kArea + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  munmap(area + kArea, 4096);
  random_bytes(area, kArea);
  const int all[] = {
      open("/var/secret/a", O_CREAT | O_RDWR, 0600), open("/var/secret/b", O_CREAT | O_RDWR | O_APPEND, 0600),
      open("/var/secret", O_RDONLY | O_DIRECTORY), open("/var/secret/d", O_PATH), socket(AF_INET, SOCK_STREAM, 0),
      socket(AF_INET, SOCK_DGRAM, 0), socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0), epoll_create1(0),
      open("/dev/null", O_RDWR), open("/tmp/x", O_CREAT | O_RDWR, 0600)};
  all_there = all[0] >= 0 && all[1] >= 0 && all[2] >= 0 && all[3] >= 0 && all[4] >= 0 && all[5] >= 0 && all[6] >= 0;
  fd_count = 0;
  for (size_t i = 0; i < COUNT(all); ++i)
    if (all[i] >= 0) fds[fd_count++] = all[i];
  if (pipe(ends) == 0) fds[fd_count++] = ends[0], fds[fd_count++] = ends[1];
}

// Shared by the processes: how many calls, and of which numbers.
struct Counts {
  uint64_t all, complete, swept, of[kLastCall + 1];
};

static int is_of(const int* numbers, size_t count, long number) {
  for (size_t i = 0; i < count; ++i)
    if (numbers[i] == number) return 1;
  return 0;
}
static int is_apart(long number) {
  return is_of(kApart, COUNT(kApart), number) || is_of(kPowerless, COUNT(kPowerless), number);
}

// One process's share. It may end anywhere.
static void batch(uint64_t seed, volatile struct Counts* done) {
  state = seed;
  open_all();
  done->complete += all_there;
  alarm(1);  // for what waits; it kills
  for (int i = 0; i < kBatch; ++i) {
    long number = kProxied[below(COUNT(kProxied))];
    if (i % 4 == 0) number = (long)(__atomic_fetch_add(&done->swept, 1, __ATOMIC_RELAXED) % (kLastCall + 1));
    if (is_apart(number)) continue;
    uint64_t a[6];
    for (int j = 0; j < 6; ++j) a[j] = some_argument();
    // What stands first is mostly a descriptor or a path, and then often a path, a buffer or a structure.
    if (below(4)) a[0] = below(3) ? some_descriptor() : some_path();
    if (below(3) == 0) a[1] = some_path();
    // A directory that is shut even to its owner stays shut: docs/hiding.md. What comes later would find nothing.
    if (number == SYS_chmod || number == SYS_fchmod || number == SYS_mkdir) a[1] |= 0700;
    if (number == SYS_fchmodat || number == SYS_mkdirat || number == 452) a[2] |= 0700;
    if (number == SYS_umask) a[0] &= 077;
    if (!below(50)) random_bytes(area, kArea);
    __atomic_fetch_add(&done->all, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&done->of[number], 1, __ATOMIC_RELAXED);
    syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
  }
}

// Not the C library's: a new process may return on the stack of this one.
static inline long raw(long number, const uint64_t* a) {
  register uint64_t r10 asm("r10") = a[3], r8 asm("r8") = a[4], r9 asm("r9") = a[5];
  long result;
  asm volatile("syscall" : "=a"(result) : "a"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
  return result;
}

// What brings such a call further than to its first look at its arguments.
static void nearly_right(long number, uint64_t* a) {
  static const uint64_t commands[] = {0x01234567, 0xcdef0123, 0x4321fedc, 0xa1b2c3d4, 0x89abcdef, 0, 0x45584543, 0xd000fce2};
  static const char* const types[] = {"tmpfs", "proc", "sysfs", "ext4", "overlay"};
  const uint64_t someone = below(4) - 1;  // everybody, its group, the first in its namespace, itself
  switch (number) {
    case SYS_reboot: a[0] = 0xfee1dead, a[1] = 672274793, a[2] = commands[below(COUNT(commands))]; break;
    case SYS_kill:
    case SYS_tkill: a[0] = someone, a[1] = below(65); break;
    case SYS_tgkill:
    case SYS_rt_tgsigqueueinfo: a[0] = someone, a[1] = someone, a[2] = below(65); break;
    case SYS_rt_sigqueueinfo: a[0] = someone, a[1] = below(65); break;
    case SYS_clone: a[0] = (any() & any()) | below(65), a[1] = below(2) ? 0 : (uint64_t)(area + kArea / 2); break;
    case SYS_clone3: memset(area, 0, 88), *(uint64_t*)area = any() & any() & any(), a[0] = (uint64_t)area, a[1] = below(2) ? 64 : 88; break;
    case SYS_unshare: a[0] = any() & any(); break;
    case SYS_mount: a[2] = (uint64_t)types[below(COUNT(types))]; a[3] = any() & any() & any(); break;
    case SYS_umount2: a[1] = below(16); break;
    case SYS_ptrace: a[0] = below(2) ? below(32) : 0x4200 + below(20), a[1] = someone; break;
    case SYS_seccomp: a[0] = below(4), a[1] = 0; break;
    case SYS_setrlimit: a[0] = below(17); break;
    case SYS_prlimit64: a[0] = below(2) ? 0 : someone, a[1] = below(17); break;
    case SYS_sched_setscheduler:
    case SYS_sched_setattr: a[0] = below(2) ? 0 : someone; break;
    // 59: what decides whether a thread's calls are looked at, which for a hidden one is Oboro's.
    case SYS_prctl: a[0] = below(3) ? below(80) : 59, a[1] = below(3); break;
  }
}

enum { kTries = 6, kOfEach = 4, kPatience = 2 };

static void wait_or_kill(pid_t child) {
  for (int i = 0; i < kPatience * 200; ++i) {
    const pid_t got = waitpid(child, NULL, WNOHANG);
    if (got == child || (got < 0 && errno != EINTR)) return;
    usleep(5000);
  }
  kill(child, SIGKILL);
  while (waitpid(child, NULL, 0) < 0 && errno == EINTR) {
  }
}

static void try_apart(long number, uint64_t seed, volatile struct Counts* done) {
  state = seed;
  open_all();
  for (int i = 0; i < kOfEach; ++i) {
    uint64_t a[6];
    for (int j = 0; j < 6; ++j) a[j] = some_argument();
    if (i > 0) nearly_right(number, a);
    __atomic_fetch_add(&done->all, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&done->of[number], 1, __ATOMIC_RELAXED);
    const pid_t here = getpid();
    const long result = raw(number, a);
    const int makes = number == SYS_fork || number == SYS_vfork || number == SYS_clone || number == SYS_clone3;
    if (makes && (result == 0 || getpid() != here)) _exit(0);
    char text[8];  // whether anything is left of it: a hidden call and an ordinary one
    pread(fds[0], text, sizeof text, 0);
    write(fds[fd_count - 1], text, 1);
  }
  _exit(0);
}

// One number. Whoever is first in a PID namespace takes all others with him when he is killed. 0: it was not possible to be apart.
static int apart(long number, volatile struct Counts* done) {
  const int powerless = is_of(kPowerless, COUNT(kPowerless), number);
  const pid_t outer = fork();
  if (outer == 0) {
    setsid();
    const int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; ++fd) dup2(null, fd);
    if (unshare(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | (powerless ? CLONE_NEWUSER : 0)) != 0) _exit(1);
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) _exit(1);
    const pid_t first = fork();
    if (first < 0) _exit(1);
    if (first > 0) {
      int status = 0;
      for (int i = 0; i < kTries * kPatience * 200; ++i) {
        const pid_t got = waitpid(first, &status, WNOHANG);
        if (got == first || (got < 0 && errno != EINTR)) _exit(0);
        usleep(5000);
      }
      kill(first, SIGKILL);
      _exit(0);
    }
    setsid();  // the namespace does not part a process group
    for (int i = 0; i < kTries; ++i) {
      const pid_t child = fork();
      if (child == 0) try_apart(number, 0x9e3779b97f4a7c15ULL * (uint64_t)(number * kTries + i + 1), done);
      if (child > 0) wait_or_kill(child);
    }
    _exit(0);
  }
  int status = 1;
  while (waitpid(outer, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void calls(uint64_t wanted) {
  volatile struct Counts* done = mmap(NULL, sizeof *done, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  unsigned batches = 0, killed = 0;
  for (; done->all < wanted && batches < 2000; ++batches) {
    const pid_t child = fork();
    if (child == 0) {
      setsid();
      const int null = open("/dev/null", O_RDWR);
      for (int fd = 0; fd < 3; ++fd) dup2(null, fd);
      batch(0x9e3779b97f4a7c15ULL * (batches + 1), done);
      _exit(0);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    killed += WIFSIGNALED(status);
  }
  printf("calls %s: %u processes, %u of them ended by a signal, %s with hidden files\n", done->all >= wanted ? "done" : "NOT DONE", batches,
         killed, done->complete * 2 > batches ? "most" : "NOT MOST");
  unsigned numbers = 0, separate = 0;
  for (long number = 0; number <= kLastCall; ++number)
    if (is_apart(number) && (apart(number, done) || printf("number %ld NOT APART\n", number) < 0)) ++separate;
  for (long number = 0; number <= kLastCall; ++number)
    if (done->of[number] >= 3)
      ++numbers;
    else
      printf("number %ld NOT TRIED\n", number);
  printf("numbers tried: %u of %u, %u of them apart\n", numbers, kLastCall + 1, separate);
}

static struct {
  char path[64];
  struct iovec vector[4];
  struct sockaddr_in address;
  struct msghdr message;
  struct pollfd polled[4];
} shared;
static volatile int racing = 1;

static void* changes(void* unused) {
  static const char* const texts[] = {"/var/secret/a", "/var/secret/../../etc", "/tmp/x", "/var/secret/l/canary", "/var/secret/d/../a"};
  (void)unused;
  for (uint64_t i = 0; racing; ++i) {
    memcpy(shared.path, texts[i % COUNT(texts)], strlen(texts[i % COUNT(texts)]) + 1);
    shared.vector[i % 4].iov_len = i % 3 ? 100 : i % 7 ? UINT64_MAX : 1 << 20;
    shared.vector[i % 4].iov_base = i % 5 ? area : (void*)0x1000;
    shared.address.sin_addr.s_addr = htonl(i % 2 ? INADDR_LOOPBACK : 0x0a4d0001);
    shared.message.msg_iovlen = i % 3 ? 4 : 100000;
    shared.message.msg_namelen = i % 3 ? sizeof shared.address : 100000;
    shared.polled[i % 4].fd = i % 2 ? fds[i % fd_count] : -1;
  }
  return NULL;
}

// The kernel would not mind either.
static void* moves(void* unused) {
  static const char* const directories[] = {"/var/secret", "/var/secret/d", "/var/secret/a-directory-with-a-longer-name", "/"};
  struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(9)};
  (void)unused;
  inet_pton(AF_INET6, "2001:db8:1111:2222:3333:4444:5555:6666", &to.sin6_addr);
  for (uint64_t i = 0; racing; ++i) {
    if (chdir(directories[i % COUNT(directories)]) != 0) continue;
    to.sin6_port = htons(i % 1000);
    connect(fds[6], (struct sockaddr*)&to, sizeof to);
  }
  return NULL;
}

static void races(uint64_t wanted) {
  open_all();
  mkdir("/var/secret/a-directory-with-a-longer-name", 0700);
  char* text = malloc(1 << 20);
  uint64_t outside = 0, inside = 0;
  if (!all_there) printf("races WITHOUT FILES\n");
  for (int i = 0; i < 4; ++i) shared.vector[i] = (struct iovec){area, 100}, shared.polled[i] = (struct pollfd){fds[i], POLLIN | POLLOUT, 0};
  shared.address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(9)};
  shared.message = (struct msghdr){&shared.address, sizeof shared.address, shared.vector, 4, NULL, 0, 0};
  strcpy(shared.path, "/var/secret/a");
  pthread_t other, mover;
  pthread_create(&other, NULL, changes, NULL);
  pthread_create(&mover, NULL, moves, NULL);
  const int file = fds[0], datagram = fds[5];
  for (uint64_t i = 0; i < wanted; ++i) {
    int fd;
    switch (i % 10) {
      case 0:
      case 1:
        fd = open(shared.path, O_RDONLY);
        if (fd >= 0) {
          const ssize_t got = read(fd, text, 4096);
          inside += got > 0;
          outside += got > 0 && memmem(text, got, "CANARY", 6) != NULL;
          close(fd);
        }
        break;
      case 2: pwritev(file, shared.vector, 4, 0); break;
      case 3: preadv(file, shared.vector, 4, 0); break;
      case 4: sendmsg(datagram, &shared.message, MSG_DONTWAIT); break;
      case 5: sendto(datagram, area, 100, MSG_DONTWAIT, (struct sockaddr*)&shared.address, sizeof shared.address); break;
      case 6: poll(shared.polled, 4, 0); break;
      case 7: {
        struct stat status;
        stat(shared.path, &status);
        recvmsg(datagram, &shared.message, MSG_DONTWAIT);
        break;
      }
      case 8:
        fd = open("a", O_RDONLY);  // of whatever directory it is
        if (getcwd(text, 4096) == NULL) text[0] = 0;
        if (fd >= 0) close(fd);
        break;
      case 9: connect(fds[6], (struct sockaddr*)&shared.address, sizeof shared.address); break;
    }
  }
  racing = 0;
  pthread_join(other, NULL);
  pthread_join(mover, NULL);
  if (chdir("/") != 0) printf("NO ROOT\n");
  printf("races done, %s, %s\n", inside ? "something from inside" : "NOTHING AT ALL", outside ? "READ WHAT IS OUTSIDE" : "nothing from outside");
}

static uint64_t share, failed;
static void* floods(void* number) {
  const int file = open("/var/secret/flood", O_CREAT | O_RDWR, 0600);
  const int datagram = socket(AF_INET, SOCK_DGRAM, 0);
  if (file < 0 || datagram < 0) __atomic_fetch_add(&failed, 1, __ATOMIC_RELAXED);
  static char data[4096];
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
  inet_pton(AF_INET, "10.77.0.1", &to.sin_addr);
  for (uint64_t i = 0; i < share; ++i) {
    if (i % 2)
      failed += pwrite(file, data, sizeof data, (i + (long)number) % 64 * sizeof data) < 0;
    else
      sendto(datagram, data, 1000, MSG_DONTWAIT, (struct sockaddr*)&to, sizeof to);
  }
  close(file);
  close(datagram);
  return NULL;
}

static void flood(uint64_t wanted) {
  pthread_t threads[kThreads];
  clean();
  share = wanted / kThreads;
  for (long i = 0; i < kThreads; ++i) pthread_create(&threads[i], NULL, floods, (void*)i);
  for (int i = 0; i < kThreads; ++i) pthread_join(threads[i], NULL);
  printf("flood %s\n", failed ? "FAILED" : "done");
}

static void* moves_much(void* number) {
  enum { kMuch = 1 << 20 };
  static char data[kMuch];  // all of them: what is in it does not matter
  const int file = open("/var/secret/large", O_CREAT | O_RDWR, 0600);
  for (uint64_t i = 0; i < 3; ++i) {
    if (pwrite(file, data, kMuch, 0) != kMuch || pread(file, data, kMuch, 0) != kMuch) ++failed;
  }
  close(file);
  return number;
}

static void large(uint64_t wanted) {
  pthread_t threads[1000];
  pthread_attr_t small;
  uint64_t started = 0;
  clean();
  failed = 0;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 32768);
  while (started < wanted && started < COUNT(threads) && pthread_create(&threads[started], &small, moves_much, NULL) == 0)
    ++started;
  for (uint64_t i = 0; i < started; ++i) pthread_join(threads[i], NULL);
  printf("large %s\n", started != wanted ? "NOT DONE" : failed ? "FAILED" : "done");
}

static void sane(const char* when) {
  char text[16] = "";
  struct stat status = {0};
  chmod("/var/secret", 0700);
  const int fd = open("/var/secret/sane", O_CREAT | O_TRUNC | O_RDWR, 0600);
  const ssize_t wrote = write(fd, "hidden", 6), got = pread(fd, text, sizeof text, 0);
  const int known = fstat(fd, &status);
  printf("sane %s %d %zd %zd %s %d %d\n", when, fd >= 0, wrote, got, text, known, (int)status.st_size);
  close(fd);
  unlink("/var/secret/sane");
}

int main(int argc, char** argv) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  signal(SIGPIPE, SIG_IGN);
  for (int i = 1; i < argc; ++i) {
    const uint64_t number = i + 1 < argc ? strtoull(argv[i + 1], NULL, 0) : 0;
    if (strcmp(argv[i], "calls") == 0) calls(number);
    if (strcmp(argv[i], "races") == 0) races(number);
    if (strcmp(argv[i], "flood") == 0) flood(number);
    if (strcmp(argv[i], "large") == 0) large(number);
    if (strcmp(argv[i], "sane") == 0) sane(argv[++i]);
  }
}
