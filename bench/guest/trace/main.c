// The guest's side of `bench/run trace`: does what the host asks for on the serial console, one line a command.
//
//   run NAME MANAGED MS      starts a benchmark in a process of its own; MANAGED 1: it has read a classified file before.
//                            Warms up for MS ms and answers "@r NAME" and the median time of a batch in ns. Then, until
//                            "end": "go N" runs N batches and answers "@r NAME", for each phase p25, median and minimum
//                            in ns a call, and the number of calls.
//   fill FILES SOCKETS       a managed process writes FILES files, and SOCKETS sockets are sent a message each; they stay
//   tree MB PARTS            makes /bench/tree/0 .. PARTS-1 with MB megabytes in all
//   job PART                 tar and gzip of one part
//   waiter                   starts /bin/waiter, this program again, which waits in recvfrom until "over"
//   quit
//
// A managed process answers on the console itself, so that what started it never receives anything from it.
#include "trace.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define SECRET "/srv/secret/plan.txt"
#define MAX_BATCHES 100000

static int console;

void answer(const char* format, ...) {
  char line[512] = "@r ";
  va_list arguments;
  va_start(arguments, format);
  int n = 3 + vsnprintf(line + 3, sizeof line - 4, format, arguments);
  va_end(arguments);
  line[n++] = '\n';
  for (int at = 0; at < n;) {
    const ssize_t done = write(console, line + at, n - at);
    if (done < 0) _exit(9);
    at += done;
  }
}

void check(int good, const char* what) {
  if (good) return;
  answer("failed %s: %s", what, strerror(errno));
  _exit(1);
}

uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void become_managed(void) {
  const int fd = open(SECRET, O_RDONLY);
  check(fd >= 0 && read(fd, buffer, sizeof buffer) > 0, SECRET);
  close(fd);
}

static int ascending(const void* a, const void* b) {
  const uint64_t x = *(const uint64_t*)a, y = *(const uint64_t*)b;
  return (x > y) - (x < y);
}

// A line from the console, without its end.
static void read_line(char* line, size_t size) {
  for (size_t used = 0;;) {
    char c;
    if (read(console, &c, 1) != 1) continue;
    if (c == '\n') {
      line[used] = 0;
      return;
    }
    if (used < size - 1) line[used++] = c;
  }
}

static uint64_t times[MAX_PHASES][MAX_BATCHES];

static void run(const char* name, int managed, int ms) {
  const struct Benchmark* b = NULL;
  for (int i = 0; i < benchmark_count; ++i)
    if (strcmp(benchmarks[i].name, name) == 0) b = &benchmarks[i];
  check(b != NULL, name);
  is_managed = managed;
  if (managed) become_managed();
  if (b->set_up) b->set_up();
  uint64_t ns[MAX_PHASES];
  // Not counted: what is done once, such as the first message to a socket, which manages it.
  size_t n = 0;
  const uint64_t end = now() + (uint64_t)ms * 1000000;
  while (n < MAX_BATCHES && (n < 8 || now() < end)) {
    b->batch(ns);
    times[0][n] = ns[0] + (b->phases > 1 ? ns[1] : 0);
    ++n;
  }
  qsort(times[0], n, sizeof times[0][0], ascending);
  answer("%s %llu", name, (unsigned long long)times[0][n / 2]);
  for (;;) {
    char line[64];
    read_line(line, sizeof line);
    const long wanted = strncmp(line, "go ", 3) == 0 ? atol(line + 3) : 0;
    if (wanted <= 0 || wanted > MAX_BATCHES) break;
    for (n = 0; n < (size_t)wanted; ++n) {
      b->batch(ns);
      for (int p = 0; p < b->phases; ++p) times[p][n] = ns[p];
    }
    char text[256];
    int used = snprintf(text, sizeof text, "%s", name);
    for (int p = 0; p < b->phases; ++p) {
      qsort(times[p], n, sizeof times[p][0], ascending);
      used += snprintf(text + used, sizeof text - used, " %.1f %.1f %.1f", (double)times[p][n / 4] / b->calls,
                       (double)times[p][n / 2] / b->calls, (double)times[p][0] / b->calls);
    }
    answer("%s %zu", text, n * b->calls);
  }
  end_server();
  answer("over");
}

// ---- many managed objects ----

static void fill(int files, int sockets) {
  const struct rlimit many = {400000, 400000};
  const uint64_t begin = now();
  become_managed();
  setrlimit(RLIMIT_NOFILE, &many);
  mkdir("/bench/many", 0755);
  for (int i = 0; i < files; ++i) {
    char path[64];
    if (i % 1000 == 0) {
      snprintf(path, sizeof path, "/bench/many/%d", i / 1000);
      mkdir(path, 0755);
    }
    snprintf(path, sizeof path, "/bench/many/%d/%d", i / 1000, i);
    const int fd = open(path, O_WRONLY | O_CREAT, 0644);
    check(fd >= 0 && write(fd, "x", 1) == 1, path);
    close(fd);
  }
  const uint64_t middle = now();
  // Both ends of a pair are sent a message each, which stays in the queue. Each of the holders has a tenth of the pairs.
  int ready[2];
  check(pipe(ready) == 0, "pipe");
  for (int holder = 0; holder < 10; ++holder) {
    if (fork() != 0) continue;
    for (int i = 0; i < sockets / 20; ++i) {
      datagram_pair();
      check(send(pair[0], "x", 1, 0) == 1 && send(pair[1], "x", 1, 0) == 1, "send");
    }
    check(write(ready[1], "r", 1) == 1, "pipe");
    for (;;) pause();
  }
  for (int holder = 0; holder < 10; ++holder) check(read(ready[0], buffer, 1) == 1, "pipe");
  answer("fill %.3f %.3f", (middle - begin) / 1e9, (now() - middle) / 1e9);
  for (;;) pause();
}

// ---- a whole job ----

static void tree(int megabytes, int parts) {
  enum { kFile = 100 * 1024, kBlock = 1 << 20 };
  static char block[kBlock + kFile];
  uint64_t x = 88172645463325252ull;
  // Words of a small vocabulary: compresses about as text does.
  for (size_t at = 0; at < sizeof block;) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    uint64_t word = (x % 1500) * 0x9e3779b97f4a7c15ull;
    for (int letters = 2 + word % 8; letters-- > 0 && at < sizeof block; word >>= 5) block[at++] = 'a' + (word & 31) % 26;
    if (at < sizeof block) block[at++] = x >> 60 == 0 ? '\n' : ' ';
  }
  mkdir("/bench/tree", 0755);
  const int files = (int)((int64_t)megabytes * (1 << 20) / kFile);
  for (int i = 0; i < files; ++i) {
    char path[64];
    snprintf(path, sizeof path, "/bench/tree/%d", i % parts);
    mkdir(path, 0755);
    snprintf(path, sizeof path, "/bench/tree/%d/file%d", i % parts, i);
    const int fd = open(path, O_WRONLY | O_CREAT, 0644);
    check(fd >= 0 && write(fd, block + (size_t)i * 7919 % kBlock, kFile) == kFile, path);
    close(fd);
  }
  answer("tree %d", files);
}

static void job(int part) {
  char command[128];
  snprintf(command, sizeof command, "tar c -C /bench/tree %d | gzip | wc -c >/dev/null", part);
  const uint64_t begin = now();
  const int status = system(command);
  const uint64_t end = now();
  check(status == 0, command);
  answer("job %.6f", (end - begin) / 1e9);
}

// ---- a service that waits: for what never comes ----

static pid_t waiter;

static void start_waiter(void) {
  if ((waiter = fork()) == 0) {
    execl("/bin/waiter", "waiter", "wait", NULL);
    _exit(1);
  }
  answer("waiter");
}

static void end_waiter(void) {
  int status = 0;
  kill(waiter, SIGKILL);
  waitpid(waiter, &status, 0);
  check(WIFSIGNALED(status), "the service that was to wait");
  answer("over");
}

static int wait_forever(void) { return recvfrom(socket(AF_INET, SOCK_DGRAM, 0), buffer, sizeof buffer, 0, NULL, NULL) < 0; }

static int command(char* line) {
  char name[64];
  int a = 0, b = 0;
  const int words = sscanf(line, "%63s %d %d", name, &a, &b);
  char benchmark[64];
  if (words >= 1 && strcmp(name, "quit") == 0) return 0;
  if (strcmp(line, "waiter") == 0) return start_waiter(), 1;
  if (strcmp(line, "over") == 0) return end_waiter(), 1;
  if (sscanf(line, "run %63s %d %d", benchmark, &a, &b) == 3) {
    if (fork() == 0) {
      run(benchmark, a, b);
      _exit(0);
    }
    wait(NULL);
  } else if (words == 3 && strcmp(name, "fill") == 0) {
    if (fork() == 0) {
      fill(a, b);
      _exit(0);
    }
  } else if (words == 3 && strcmp(name, "tree") == 0) {
    tree(a, b);
  } else if (words == 2 && strcmp(name, "job") == 0) {
    job(a);
  } else {
    answer("failed command %s", name);
  }
  return 1;
}

int main(int argc, char** argv) {
  if (argc > 1) return strcmp(argv[1], "wait") == 0 ? wait_forever() : 0;
  console = open("/dev/ttyS0", O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (console < 0) return 1;
  struct termios raw;
  tcgetattr(console, &raw);
  cfmakeraw(&raw);
  tcsetattr(console, TCSANOW, &raw);
  mkdir("/bench", 0755);
  check(mount("bench", "/bench", "tmpfs", 0, "size=90%,nr_inodes=400000") == 0, "mount");
  answer("ready");
  char line[256];
  do {
    read_line(line, sizeof line);
  } while (command(line));
  answer("bye");
  return 0;
}
