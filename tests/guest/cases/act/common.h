#pragma once
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct verb {
  const char* name;
  int arguments;
  long (*run)(char** v);  // v[0] is the verb
};

static int fds[16];    // by slot
static char* maps[8];  // by slot
static char buf[4096] __attribute__((aligned(4096))) = "nothing secret\n";
static size_t len = 15;

static char** run(char** v);

_Noreturn static void die(const char* verb, const char* why) {
  fprintf(stderr, "act: %s: %s\n", verb, why);
  _exit(1);
}

static int* slot(const char* text) { return &fds[atoi(text) & 15]; }
static int fd(const char* text) { return *slot(text); }
static char** map_slot(const char* text) { return &maps[atoi(text) & 7]; }

// Remembers a new descriptor.
static long keep(const char* text, long opened) {
  if (opened >= 0) *slot(text) = (int)opened;
  return opened;
}

// After a read: there must have been something.
static long got(long n) {
  if (n > 0) len = (size_t)n;
  if (n == 0) errno = ENODATA;
  return n > 0 ? 0 : -1;
}
