// What a hidden service does that somebody has taken over: system calls at random, from a fixed seed. Every number there
// is, most of them those that a proxy may come to execute, with arguments that are right, nearly right, or anything; and
// calls whose arguments another thread changes while they are on their way.
//
//   hijacked calls N    at least N of them, each number several times, in processes that may well not live long; those that would end
//                       or change the test or its guest, in namespaces of their own
//   hijacked races N    calls with changing arguments
//   hijacked flood N    calls by 64 threads at once, none of which waits for more than it must
//   hijacked large N    threads that all write and read a MiB at once
//   hijacked sane WHEN  whether hidden calls are still what they should be
#include "hijacked.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void sane(const char* when) {
  char text[16] = "";
  struct stat status = {0};
  chmod("/var/secret", 0700);
  const int fd = open("/var/secret/sane", O_CREAT | O_TRUNC | O_RDWR, 0600);
  const ssize_t wrote = write(fd, "hidden", 6), got = pread(fd, text, sizeof text, 0);
  const int known = fstat(fd, &status);
  printf("sane %s %d %zd %zd %s %d %d\n", when, fd >= 0, wrote, got, text, known, (int)status.st_size);
  close(fd);
  unlink("/var/secret/sane");
}

int main(int argc, char** argv) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  signal(SIGPIPE, SIG_IGN);
  for (int i = 1; i < argc; ++i) {
    const uint64_t number = i + 1 < argc ? strtoull(argv[i + 1], NULL, 0) : 0;
    if (strcmp(argv[i], "calls") == 0) calls(number);
    if (strcmp(argv[i], "races") == 0) races(number);
    if (strcmp(argv[i], "flood") == 0) flood(number);
    if (strcmp(argv[i], "large") == 0) large(number);
    if (strcmp(argv[i], "sane") == 0) sane(argv[++i]);
  }
}
