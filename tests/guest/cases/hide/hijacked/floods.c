// Many calls at once, and large ones.
#include "hijacked.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { kThreads = 64 };

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

void flood(uint64_t wanted) {
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

void large(uint64_t wanted) {
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
