// A small service, for what befalls it: each argument is something it does.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int open_log(void) { return open("/var/secret/log", O_CREAT | O_RDWR | O_APPEND, 0600); }

static int unbound(void) {
  struct sockaddr_in any = {.sin_family = AF_INET};
  int s = socket(AF_INET, SOCK_DGRAM, 0);
  any.sin_addr.s_addr = htonl(INADDR_ANY);
  bind(s, (struct sockaddr*)&any, sizeof any);
  return s;
}

static void* writer(void* number) {
  char line[32];
  int fd = open_log();
  for (int i = 0; i < 50; ++i) {
    int n = snprintf(line, sizeof line, "%02d %02d\n", (int)(long)number, i);
    if (write(fd, line, n) != n) perror("write");
  }
  close(fd);
  return NULL;
}

// The numbers that this process gets, and how many others it has.
static void numbers(void) {
  int others = 0;
  for (int fd = 3; fd < 1024; ++fd) others += fcntl(fd, F_GETFD) >= 0;
  const int file = open_log(), s = unbound();
  printf("numbers %d %d, others %d\n", file, s, others);
  close(file);
  close(s);
}

// Processes that have this one's descriptors are killed in the middle of whatever they do. What they had open stays open, for it is this
// one's, too. Once that is closed all numbers are free: none stays reserved that a killed one did not come to use.
static void kill_sharing(void) {
  enum { kRounds = 30 };
  int was_open = 0, is_free = 0, done = 0;
  for (int round = 0; round < kRounds; ++round) {
    const pid_t child = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, 0);
    if (child == 0) {
      char data[64];
      for (;;) {
        const int file = open_log(), s = unbound();
        if (write(file, "line\n", 5) == 5 && round % 3 == 0) recv(s, data, sizeof data, 0);
        close(file);
        close(s);
      }
    }
    usleep(5000 + round * 1000);
    kill(child, SIGKILL);
    done += waitpid(child, NULL, 0) == child;
    for (int fd = 3; fd < 64; ++fd) was_open += close(fd) == 0;
    const int file = open_log(), s = unbound();
    is_free += file == 3 && s == 4;
    close(file);
    close(s);
  }
  printf("sharing: %d killed, %s had something open, numbers free after %d\n", done, was_open ? "some" : "NONE", is_free);
}

static void on_alarm(int signal) { (void)signal; }

int main(int argc, char** argv) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  for (int i = 1; i < argc; ++i) {
    const char* what = argv[i];
    char data[64];
    if (strcmp(what, "write") == 0) {
      int fd = open_log();
      printf("write %zd\n", write(fd, "line\n", 5));
      close(fd);
    } else if (strcmp(what, "size") == 0) {
      struct stat status = {0};
      int result = stat("/var/secret/log", &status);
      printf("size %d %ld\n", result, (long)status.st_size);
    } else if (strcmp(what, "receive") == 0) {
      const int s = unbound();
      printf("receiving\n");
      ssize_t got = recv(s, data, sizeof data, 0);
      printf("received %zd %s\n", got, strerror(errno));
    } else if (strcmp(what, "alarm") == 0) {
      struct sigaction action = {.sa_handler = on_alarm};
      sigaction(SIGALRM, &action, NULL);
      alarm(1);
      ssize_t got = recv(unbound(), data, sizeof data, 0);
      printf("alarm %zd %s\n", got, strerror(errno));
    } else if (strcmp(what, "threads") == 0) {
      pthread_t threads[64];
      for (long t = 0; t < 64; ++t) pthread_create(&threads[t], NULL, writer, (void*)t);
      for (long t = 0; t < 64; ++t) pthread_join(threads[t], NULL);
      printf("threads done\n");
    } else if (strcmp(what, "until-error") == 0) {
      int fd = open_log();
      printf("writing\n");
      while (write(fd, ".", 1) == 1) usleep(20000);
      printf("write failed: %s\n", strerror(errno));
      printf("open after: %s\n", open_log() < 0 ? strerror(errno) : "works");
      printf("read after: %s\n", pread(fd, data, sizeof data, 0) < 0 ? strerror(errno) : "works");
      printf("socket after: %s\n", socket(AF_INET, SOCK_STREAM, 0) < 0 ? strerror(errno) : "works");
      int closed = close(fd);  // whatever it says, the number is free
      int ordinary = open("/tmp/ordinary", O_CREAT | O_RDWR, 0600);
      printf("close after: %d, number free: %s\n", closed, ordinary == fd ? "yes" : "NO");
      int wrote = 0;
      for (int n = 0; n < 50; ++n) wrote += write(ordinary, "x", 1) == 1, usleep(10000);
      printf("ordinary after: %d\n", wrote);
    } else if (strcmp(what, "numbers") == 0) {
      numbers();
    } else if (strcmp(what, "kill-sharing") == 0) {
      kill_sharing();
    } else if (strcmp(what, "hold") == 0) {  // until it is killed
      int last = 0;
      for (int n = 0; n < 20; ++n) last = open_log(), last = unbound();
      printf("holding up to %d\n", last);
      recv(last, data, sizeof data, 0);
    } else if (strcmp(what, "stuck") == 0) {  // until somebody reads the pipe
      int fd = open_log(), pipe = open("/tmp/pipe", O_RDWR);
      ftruncate(fd, 1 << 20);
      printf("sending\n");
      ssize_t sent = sendfile(pipe, fd, NULL, 1 << 20);
      printf("sent %s\n", sent == 1 << 20 ? "all" : strerror(errno));
    } else if (strcmp(what, "sleep") == 0) {
      sleep(1);
    }
  }
  return 0;
}
