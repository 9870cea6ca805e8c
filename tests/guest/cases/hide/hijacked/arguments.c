// Arguments at random, and what is there for them to be right.
#include "hijacked.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static uint64_t state = 1;
void start_from(uint64_t seed) { state = seed; }
uint64_t any(void) {  // xorshift64*
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return state * 0x2545f4914f6cdd1dULL;
}
uint64_t below(uint64_t n) { return any() % n; }

static const char* const kPaths[] = {
    "/var/secret", "/var/secret/", "/var/secret/a", "/var/secret/b", "/var/secret/d", "/var/secret/d/e", "/var/secret/l",
    "/var/secret/../../../../../../etc/passwd", "/var/secret/d/../../../hidden/beside/canary", "/var/secret/l/canary",
    "/var/secret/./a/..", "/var/secret//a", "var/secret/a", "a", "..", ".", "", "/", "/etc/passwd", "/tmp/x",
    "/proc/self/fd/5", "/proc/self/root/var/secret/a", "/dev/zero",
};
static const char* const kTargets[] = {"..", "../../beside", "/", "/../..", "a", "/proc/self/root", "l", "../beside/canary"};

unsigned char* area;
int fds[32];
int fd_count, all_there;
static void* chunk(size_t size) { return area + below(kArea - size); }

uint64_t some_path(void) {
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

uint64_t some_descriptor(void) {
  switch (below(12)) {
    case 0: return below(2000);
    case 1: return any();
    case 2: return (uint64_t)AT_FDCWD;
    default: return fds[below(fd_count)];
  }
}

uint64_t some_argument(void) {
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

void random_bytes(void* at, size_t size) {
  for (size_t i = 0; i + 8 <= size; i += 8) {
    uint64_t word = below(3) ? below(64) : any();
    memcpy((char*)at + i, &word, 8);
  }
}

void clean(void) {
  static const char* const names[] = {"/var/secret/a", "/var/secret/b", "/var/secret/l", "/var/secret/large", "/var/secret/flood"};
  mkdir("/var/secret", 0700);
  chmod("/var/secret", 0700);
  for (size_t i = 0; i < COUNT(names); ++i)
    if (unlink(names[i]) != 0) rmdir(names[i]);
  chmod("/var/secret/d", 0700);
}

void open_all(void) {
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
