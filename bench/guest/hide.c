// The guest's part of bench/run hide: takes commands on the console. Under the name of a sender it is the service whose
// calls are measured; /bin/hidden-sender is hidden, /bin/plain-sender, the same program, is not.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static int udp(const char* address, int port) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
  inet_pton(AF_INET, address, &to.sin_addr);
  int s = socket(AF_INET, SOCK_DGRAM, 0);
  if (s < 0 || connect(s, (struct sockaddr*)&to, sizeof to) != 0) {
    perror("socket");
    exit(1);
  }
  return s;
}

// --- as the service

// With the others beside it; descriptor 8.
struct share {
  volatile uint64_t operations, over;
};
static struct share* share;
static void map_share(void) { share = mmap(NULL, sizeof *share, PROT_READ | PROT_WRITE, MAP_SHARED, 8, 0); }
static const char* address;
static int echo_port, calls_each;

static void* ask(void* unused) {
  int s = udp(address, echo_port);
  char data[64] = "x";
  for (int i = 0; i < calls_each; ++i) {
    if (send(s, data, sizeof data, 0) < 0 || recv(s, data, sizeof data, 0) < 0) perror("echo");
  }
  close(s);
  return unused;
}

// ADDRESS PORT send SIZE COUNT | ADDRESS PORT wait SECONDS | ADDRESS PORT ask THREADS CALLS; its result to
// descriptor 9.
static int service(char** argv) {
  uint64_t result[2] = {0, 0};
  address = argv[1];
  map_share();
  if (strcmp(argv[3], "send") == 0) {
    static char data[65536];
    int s = udp(address, atoi(argv[2])), size = atoi(argv[4]), count = atoi(argv[5]);
    uint64_t begin = now(), before = share->operations;
    for (int i = 0; i < count; ++i)
      if (send(s, data, size, 0) != size) perror("send");
    result[0] = now() - begin;
    result[1] = share->operations - before;
  } else if (strcmp(argv[3], "wait") == 0) {
    int s = udp(address, atoi(argv[2]));
    struct timeval t = {atoi(argv[4]), 0};
    setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    char data[64];
    struct timespec before, after;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    recv(s, data, sizeof data, 0);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    result[0] = (after.tv_sec - before.tv_sec) * 1000000000ull + (after.tv_nsec - before.tv_nsec);
  } else {
    pthread_t threads[64];
    int n = atoi(argv[4]);
    echo_port = atoi(argv[2]);
    calls_each = atoi(argv[5]);
    uint64_t begin = now();
    for (int i = 0; i < n; ++i) pthread_create(&threads[i], NULL, ask, NULL);
    for (int i = 0; i < n; ++i) pthread_join(threads[i], NULL);
    result[0] = now() - begin;
  }
  return write(9, result, sizeof result) != sizeof result;
}

// --- others, meanwhile

static void load(const char* kind) {
  int disk = -1;
  char* block = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (strcmp(kind, "disk") == 0 && (disk = open("/dev/vda", O_RDONLY | O_DIRECT)) < 0) perror("/dev/vda");
  unsigned seed = 1;
  uint64_t blocks = disk >= 0 ? lseek(disk, 0, SEEK_END) / 4096 : 1;
  while (!share->over) {
    if (strcmp(kind, "getpid") == 0)
      syscall(SYS_getpid);
    else if (disk >= 0 && pread(disk, block, 4096, (rand_r(&seed) % blocks) * 4096) != 4096)
      perror("read");
    ++share->operations;
  }
  _exit(0);
}

// run WHO LOAD COPIES ARGUMENTS...: the service, with others beside it. Answer: its ns, operations of the others, ns of
// all.
static void run(char* line) {
  char *words[16], *next = strtok(line, " ");
  int n = 0;
  while (next && n < 15) words[n++] = next, next = strtok(NULL, " ");
  words[n] = NULL;
  memset((void*)share, 0, sizeof *share);
  int copies = atoi(words[2]), back[2];
  pid_t others[8];
  if (pipe(back) != 0) perror("pipe");
  for (int i = 0; i < copies; ++i)
    if ((others[i] = fork()) == 0) load(words[1]);
  pid_t child = fork();
  if (child == 0) {
    dup2(back[1], 9);
    execv(words[0], words + 2);
    perror(words[0]);
    _exit(1);
  }
  close(back[1]);
  uint64_t result[2] = {0, 0};
  if (read(back[0], result, sizeof result) != sizeof result) printf("@r failed no result\n");
  share->over = 1;
  waitpid(child, NULL, 0);
  for (int i = 0; i < copies; ++i) waitpid(others[i], NULL, 0);
  close(back[0]);
  printf("@r run %llu %llu\n", (unsigned long long)result[0], (unsigned long long)result[1]);
}

// --- calls of another process that are timed, while a service waits

static pid_t waiter;

// waiter ADDRESS PORT: a service that waits in recvfrom until "over".
static void start_waiter(char* to, char* port) {
  if ((waiter = fork()) == 0) {
    execl("/bin/hidden-sender", "hidden-sender", to, port, "wait", "36000", NULL);
    _exit(1);
  }
  printf("@r waiter\n");
}

static void end_waiter(void) {
  int status = 0;
  kill(waiter, SIGKILL);
  waitpid(waiter, &status, 0);
  printf(WIFSIGNALED(status) ? "@r over\n" : "@r failed the service that was to wait had ended by itself\n");
}

static int pair[2], file;
static char block[4096];
enum { kMessage = 64 };

static int yield_call(void) { return sched_yield() == 0; }
static int getppid_call(void) { return syscall(SYS_getppid) > 0; }
static int open_close_call(void) { return close(open("/dev/shm/file", O_RDONLY)) == 0; }
static int write_call(void) { return write(file, block, sizeof block) == sizeof block; }
static int read_call(void) { return read(file, block, sizeof block) == sizeof block; }
static int send_call(void) { return sendto(pair[0], block, kMessage, 0, NULL, 0) == kMessage; }
static int receive_call(void) { return recvfrom(pair[1], block, sizeof block, 0, NULL, NULL) == kMessage; }

static int fork_call(void) {
  pid_t child = fork();
  if (child == 0) _exit(0);
  return waitpid(child, NULL, 0) == child;
}

static int execve_call(void) {
  pid_t child = vfork();
  int status = 1;
  if (child == 0) {
    execl("/bin/hide-bench", "hide-bench", "exit", NULL);
    _exit(1);
  }
  return waitpid(child, &status, 0) == child && status == 0;
}

static const struct timed {
  const char* name;
  int calls;  // of each kind in a batch
  int (*kinds[2])(void);
} timed[] = {
    {"sched_yield", 200, {yield_call}},    {"getppid", 400, {getppid_call}},         {"open", 50, {open_close_call}},
    {"file", 50, {write_call, read_call}}, {"unix", 100, {send_call, receive_call}}, {"fork", 1, {fork_call}},
    {"execve", 1, {execve_call}},
};

static int ascending(const void* a, const void* b) {
  const uint64_t x = *(const uint64_t*)a, y = *(const uint64_t*)b;
  return (x > y) - (x < y);
}

// other NAME MS: lower quartiles of ns a call, of each kind.
static void other(const char* name, int ms) {
  enum { kMost = 10000 };
  static uint64_t took[2][kMost];
  const struct timed* t = timed;
  while (strcmp(t->name, name) != 0)
    if (++t == timed + sizeof timed / sizeof *timed) _exit(1);
  file = open("/dev/shm/file", O_RDWR | O_CREAT, 0600);
  int good = file >= 0 && socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0, n = 0;
  // What comes first is not counted: pages of a new process are touched for the first time, code is translated.
  for (uint64_t begin = now(), warm = begin + ms * 250000ull, end = begin + ms * 1250000ull;
       n < kMost && (n < 8 || now() < end);) {
    for (int kind = 0; kind < 2 && t->kinds[kind]; ++kind) {
      const uint64_t first = now();
      for (int i = 0; i < t->calls; ++i) good &= t->kinds[kind]();
      took[kind][n] = now() - first;
      lseek(file, 0, SEEK_SET);
    }
    if (now() >= warm) ++n;
  }
  if (!good) {
    printf("@r failed %s\n", name);
    return;
  }
  printf("@r %s", name);
  for (int kind = 0; kind < 2 && t->kinds[kind]; ++kind) {
    qsort(took[kind], n, sizeof took[kind][0], ascending);
    printf(" %.1f", (double)took[kind][n / 4] / t->calls);
  }
  printf("\n");
}

int main(int argc, char** argv) {
  if (argc == 2) return 0;
  if (argc > 2) return service(argv);
  struct termios raw;
  if (!freopen("/dev/ttyS0", "r", stdin) || !freopen("/dev/ttyS0", "w", stdout)) return 1;
  tcgetattr(0, &raw);
  raw.c_lflag &= ~(ECHO | ICANON);
  tcsetattr(0, TCSANOW, &raw);
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (dup2(memfd_create("share", 0), 8) != 8 || ftruncate(8, sizeof *share) != 0) return 1;
  map_share();
  printf("@r ready\n");
  char line[256];
  while (fgets(line, sizeof line, stdin)) {
    line[strcspn(line, "\r\n")] = 0;
    char name[32], port[16];
    int ms;
    if (strncmp(line, "run ", 4) == 0)
      run(line + 4);
    else if (sscanf(line, "waiter %31s %15s", name, port) == 2)
      start_waiter(name, port);
    else if (strcmp(line, "over") == 0)
      end_waiter();
    else if (sscanf(line, "other %31s %d", name, &ms) == 2) {
      const pid_t child = fork();
      if (child == 0) {
        other(name, ms);
        _exit(0);
      }
      waitpid(child, NULL, 0);
    } else if (strcmp(line, "quit") == 0)
      break;
  }
  printf("@r bye\n");
  return 0;
}
