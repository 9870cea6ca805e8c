// A small service, for what befalls it: each argument is something it does.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
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
      printf("receiving\n");
      ssize_t got = recv(unbound(), data, sizeof data, 0);
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
