// System calls at random.
#include "hijacked.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { kLastCall = 470, kBatch = 200 };

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
  start_from(seed);
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
  start_from(seed);
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

void calls(uint64_t wanted) {
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
