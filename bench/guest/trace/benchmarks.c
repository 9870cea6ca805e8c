// What is measured, a batch of calls at a time.
//
// The lat_* benchmarks have the message sizes and the process layout of the programs of lmbench that have these names.
// They are not lmbench.
#include "trace.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int pair[2];
char buffer[4096];

enum { kCalls = 5000, kMessages = 100, kSize = 64, kSelects = 20, kTrips = 5, kConnects = 1 };

static void getppid_batch(uint64_t* ns) {
  const uint64_t begin = now();
  for (int i = 0; i < kCalls; ++i) syscall(SYS_getppid);
  ns[0] = now() - begin;
}

static void unix_pair(int type) { check(socketpair(AF_UNIX, type, 0, pair) == 0, "socketpair"); }
void datagram_pair(void) { unix_pair(SOCK_DGRAM); }
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

void end_server(void) {
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
int is_managed;
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

const struct Benchmark benchmarks[] = {
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
const int benchmark_count = sizeof benchmarks / sizeof *benchmarks;
