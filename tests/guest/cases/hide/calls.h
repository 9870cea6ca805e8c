// For the differential cases: a program makes calls in a directory, or to an address, and prints what each gave. It
// runs once hidden and once not, and both must print the same.
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// Prints the call, its result, and its error's name.
#define R(call)                                              \
  ({                                                         \
    errno = 0;                                               \
    long result_ = (long)(call);                             \
    int error_ = errno;                                      \
    printf("%d %s = %ld", __LINE__, #call, result_);         \
    if (result_ < 0) printf(" %s", strerrorname_np(error_)); \
    putchar('\n');                                           \
    fflush(stdout);                                          \
    result_;                                                 \
  })
// The same for what has no comparable value: only whether it worked.
#define OK(call)                                                          \
  ({                                                                      \
    errno = 0;                                                            \
    long result_ = (long)(call);                                          \
    int error_ = errno;                                                   \
    printf("%d %s %s", __LINE__, #call, result_ < 0 ? "fails" : "works"); \
    if (result_ < 0) printf(" %s", strerrorname_np(error_));              \
    putchar('\n');                                                        \
    fflush(stdout);                                                       \
    result_;                                                              \
  })
#define SAY(...) (printf("%d ", __LINE__), printf(__VA_ARGS__), putchar('\n'), fflush(stdout))
#define SECTION(text) (printf("--- %s\n", text), fflush(stdout))

static inline uint32_t hash(const void* data, size_t size) {
  uint32_t value = 2166136261u;
  const unsigned char* bytes = data;
  for (size_t i = 0; i < size; ++i) value = (value ^ bytes[i]) * 16777619u;
  return value;
}

static inline void fill(void* data, size_t size, uint32_t seed) {
  unsigned char* bytes = data;
  for (size_t i = 0; i < size; ++i) {
    seed = seed * 1664525u + 1013904223u;
    bytes[i] = seed >> 24;
  }
}

static inline double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}
