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
//
// The lat_* benchmarks have the message sizes and the process layout of the programs of lmbench that have these names.
// They are not lmbench.

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define SECRET "/srv/secret/plan.txt"
#define MAX_BATCHES 100000
#define MAX_PHASES 2

static int console;

static void answer(const char* format, ...) {
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

static void check(int good, const char* what) {
  if (good) return;
  answer("failed %s: %s", what, strerror(errno));
  _exit(1);
}

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

// ---- benchmarks: set_up() once, then batches; a batch gives the time of each phase ----

static int pair[2];
static char buffer[4096];

enum { kCalls = 5000, kMessages = 100, kSize = 64, kSelects = 20, kTrips = 5, kConnects = 1 };

static void getppid_batch(uint64_t* ns) {
  const uint64_t begin = now();
  for (int i = 0; i < kCalls; ++i) syscall(SYS_getppid);
  ns[0] = now() - begin;
}

static void unix_pair(int type) { check(socketpair(AF_UNIX, type, 0, pair) == 0, "socketpair"); }
static void datagram_pair(void) { unix_pair(SOCK_DGRAM); }
static void stream_pair(void) { unix_pair(SOCK_STREAM); }

static void send_receive_batch(uint64_t* ns) {
  int good = 0;
  const uint64_t begin = now();
  for (int i = 0; i < kMessages; ++i) good += sendto(pair[0], buffer, kSize, 0, NULL, 0) == kSize;
  const uint64_t between = now();
  for (int i = 0; i < kMessages; ++i) good += recvfrom(pair[1], buffer, kSize, 0, NULL, NULL) == kSize;
  const uint64_t end = now();
  check(good == 2 * kMessages, "sendto, recvfrom");
  ns[0] = between - begin;
  ns[1] = end - between;
}

static struct sockaddr_in local(int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  return address;
}

static int server_socket(int type, int port) {
  const int one = 1, s = socket(AF_INET, type, 0);
  const struct sockaddr_in address = local(port);
  check(s >= 0, "socket");
  setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  check(bind(s, (const struct sockaddr*)&address, sizeof address) == 0, "bind");
  if (type == SOCK_STREAM) check(listen(s, 100) == 0, "listen");
  return s;
}

static int client_socket(int type, int port) {
  const int s = socket(AF_INET, type, 0);
  const struct sockaddr_in address = local(port);
  check(s >= 0 && connect(s, (const struct sockaddr*)&address, sizeof address) == 0, "connect");
  return s;
}

static pid_t server;

static void end_server(void) {
  if (server > 0) {
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
  }
}

// Like lmbench's tcp_accept() loop of lat_select and lat_connect: takes a connection, waits for its end, closes it.
static void accept_forever(int s) {
  for (;;) {
    char c;
    const int connection = accept(s, NULL, NULL);
    if (connection < 0) continue;
    while (read(connection, &c, 1) > 0) {}
    close(connection);
  }
}

static fd_set select_set;
static int select_max;
enum { kSelectFds = 100 };

static void select_set_up(void) {
  const int s = server_socket(SOCK_STREAM, 31231);
  if ((server = fork()) == 0) accept_forever(s);
  close(s);
  const int connection = client_socket(SOCK_STREAM, 31231);
  FD_ZERO(&select_set);
  for (int i = 0; i < kSelectFds; ++i) {
    const int fd = dup(connection);
    check(fd >= 0 && fd < FD_SETSIZE, "dup");
    FD_SET(fd, &select_set);
    if (fd >= select_max) select_max = fd + 1;
  }
  close(connection);
}

static void select_batch(uint64_t* ns) {
  const uint64_t begin = now();
  for (int i = 0; i < kSelects; ++i) {
    struct timeval immediately = {0, 0};
    fd_set set = select_set;
    select(select_max, NULL, &set, NULL, &immediately);
  }
  ns[0] = now() - begin;
}

static void echo_forever(int s) {
  char c;
  while (read(s, &c, 1) == 1 && write(s, &c, 1) == 1) {}
  _exit(0);
}

static void lat_unix_set_up(void) {
  stream_pair();
  if ((server = fork()) == 0) echo_forever(pair[0]);
}

static void lat_tcp_set_up(void) {
  const int s = server_socket(SOCK_STREAM, 31234);
  if ((server = fork()) == 0) echo_forever(accept(s, NULL, NULL));
  close(s);
  pair[1] = client_socket(SOCK_STREAM, 31234);
}

static void echo_batch(uint64_t* ns) {
  char c = 'x';
  int good = 0;
  const uint64_t begin = now();
  for (int i = 0; i < kTrips; ++i) good += write(pair[1], &c, 1) == 1 && read(pair[1], &c, 1) == 1;
  ns[0] = now() - begin;
  check(good == kTrips, "echo");
}

static void lat_udp_set_up(void) {
  const int s = server_socket(SOCK_DGRAM, 31235);
  if ((server = fork()) == 0)
    for (;;) {
      struct sockaddr_in from;
      socklen_t length = sizeof from;
      const ssize_t n = recvfrom(s, buffer, sizeof buffer, 0, (struct sockaddr*)&from, &length);
      if (n > 0) sendto(s, buffer, n, 0, (struct sockaddr*)&from, length);
    }
  close(s);
  pair[1] = client_socket(SOCK_DGRAM, 31235);
}

static void udp_batch(uint64_t* ns) {
  uint32_t number = 0;
  int good = 0;
  const uint64_t begin = now();
  for (int i = 0; i < kTrips; ++i) good += send(pair[1], &number, 4, 0) == 4 && recv(pair[1], &number, 4, 0) == 4;
  ns[0] = now() - begin;
  check(good == kTrips, "UDP echo");
}

static void lat_connect_set_up(void) {
  const int s = server_socket(SOCK_STREAM, 31230);
  if ((server = fork()) == 0) accept_forever(s);
  close(s);
}

static void connect_batch(uint64_t* ns) {
  const uint64_t begin = now();
  for (int i = 0; i < kConnects; ++i) close(client_socket(SOCK_STREAM, 31230));
  ns[0] = now() - begin;
}

// ---- single calls, mostly of interest for how often they leave the guest ----

static void yield_batch(uint64_t* ns) {
  const uint64_t begin = now();
  for (int i = 0; i < kMessages; ++i) sched_yield();
  ns[0] = now() - begin;
}

static void fork_batch(uint64_t* ns) {
  const uint64_t begin = now();
  const pid_t child = fork();
  if (child == 0) _exit(0);
  check(waitpid(child, NULL, 0) == child, "fork");
  ns[0] = now() - begin;
}

static void execve_batch(uint64_t* ns) {
  int status = 1;
  const uint64_t begin = now();
  const pid_t child = vfork();
  if (child == 0) {
    execl("/bin/bench", "bench", "exit", NULL);
    _exit(1);
  }
  check(waitpid(child, &status, 0) == child && status == 0, "execve");
  ns[0] = now() - begin;
}

static int word;
static void futex_batch(uint64_t* ns) {
  const uint64_t begin = now();
  for (int i = 0; i < kMessages; ++i) syscall(SYS_futex, &word, 1 /* FUTEX_WAKE */, 1, NULL, NULL, 0);
  ns[0] = now() - begin;
}

static void clock_batch(uint64_t* ns) {
  struct timespec t;
  const uint64_t begin = now();
  for (int i = 0; i < kMessages; ++i) syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t);
  ns[0] = now() - begin;
}

static void nanosleep_batch(uint64_t* ns) {
  const struct timespec t = {0, 1};
  const uint64_t begin = now();
  for (int i = 0; i < kMessages; ++i) nanosleep(&t, NULL);
  ns[0] = now() - begin;
}

// What a managed process writes is no plain file any more.
static int is_managed;
#define PLAIN (is_managed ? "/tmp/managed.txt" : "/tmp/plain.txt")

static void plain_set_up(void) {
  pair[0] = open(PLAIN, O_RDWR | O_CREAT, 0644);
  check(pair[0] >= 0 && write(pair[0], buffer, kSize) == kSize, PLAIN);
}

static void open_batch(uint64_t* ns) {
  int good = 0;
  const uint64_t begin = now();
  for (int i = 0; i < kMessages; ++i) good += close(open(PLAIN, O_RDONLY)) == 0;
  ns[0] = now() - begin;
  check(good == kMessages, "open, close");
}

static void stat_batch(uint64_t* ns) {
  struct stat info;
  int good = 0;
  const uint64_t begin = now();
  for (int i = 0; i < kMessages; ++i) good += stat(PLAIN, &info) == 0;
  ns[0] = now() - begin;
  check(good == kMessages, "stat");
}

static void file_batch(uint64_t* ns) {
  int good = 0;
  const uint64_t begin = now();
  for (int i = 0; i < kMessages; ++i) good += pwrite(pair[0], buffer, kSize, 0) == kSize;
  const uint64_t between = now();
  for (int i = 0; i < kMessages; ++i) good += pread(pair[0], buffer, kSize, 0) == kSize;
  const uint64_t end = now();
  check(good == 2 * kMessages, "pwrite, pread");
  ns[0] = between - begin;
  ns[1] = end - between;
}

static void write_read_batch(uint64_t* ns) {
  int good = 0;
  const uint64_t begin = now();
  for (int i = 0; i < kMessages; ++i) good += write(pair[1], buffer, kSize) == kSize;
  const uint64_t between = now();
  for (int i = 0; i < kMessages; ++i) good += read(pair[0], buffer, kSize) == kSize;
  const uint64_t end = now();
  check(good == 2 * kMessages, "write, read");
  ns[0] = between - begin;
  ns[1] = end - between;
}

static void pipe_set_up(void) { check(pipe(pair) == 0, "pipe"); }

static void tcp_set_up(void) {
  const int s = server_socket(SOCK_STREAM, 31236);
  pair[0] = client_socket(SOCK_STREAM, 31236);
  pair[1] = accept(s, NULL, NULL);
  check(pair[1] >= 0, "accept");
  close(s);
}

static void udp_set_up(void) {
  pair[1] = server_socket(SOCK_DGRAM, 31237);
  pair[0] = client_socket(SOCK_DGRAM, 31237);
}

static const struct Benchmark {
  const char* name;
  void (*set_up)(void);
  void (*batch)(uint64_t*);
  int phases, calls;
} benchmarks[] = {
    {"getppid", NULL, getppid_batch, 1, kCalls},
    {"unix-datagram", datagram_pair, send_receive_batch, 2, kMessages},
    {"unix-stream", stream_pair, send_receive_batch, 2, kMessages},
    {"lat_select", select_set_up, select_batch, 1, kSelects},
    {"lat_unix", lat_unix_set_up, echo_batch, 1, kTrips},
    {"lat_udp", lat_udp_set_up, udp_batch, 1, kTrips},
    {"lat_tcp", lat_tcp_set_up, echo_batch, 1, kTrips},
    {"lat_connect", lat_connect_set_up, connect_batch, 1, kConnects},
    {"sched_yield", NULL, yield_batch, 1, kMessages},
    {"fork", NULL, fork_batch, 1, 1},
    {"execve", NULL, execve_batch, 1, 1},
    {"futex", NULL, futex_batch, 1, kMessages},
    {"clock_gettime", NULL, clock_batch, 1, kMessages},
    {"nanosleep", NULL, nanosleep_batch, 1, kMessages},
    {"open-close", plain_set_up, open_batch, 1, kMessages},
    {"stat", plain_set_up, stat_batch, 1, kMessages},
    {"file", plain_set_up, file_batch, 2, kMessages},
    {"pipe", pipe_set_up, write_read_batch, 2, kMessages},
    {"tcp", tcp_set_up, send_receive_batch, 2, kMessages},
    {"udp", udp_set_up, send_receive_batch, 2, kMessages},
};

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
  for (size_t i = 0; i < sizeof benchmarks / sizeof *benchmarks; ++i)
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
