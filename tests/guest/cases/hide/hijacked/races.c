// Calls whose arguments another thread changes while they are on their way.
#include "hijacked.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

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

void races(uint64_t wanted) {
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
