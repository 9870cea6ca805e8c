#pragma once
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "common.h"

// Blocks: fork ... end; the same for vfork, clone-vm (shared memory, but a process of its own) and thread. The others
// go on behind the end at once; "wait" waits for children, "thread" is joined at its end unless it is a "background"
// one.
static const char* const blocks[] = {"fork", "vfork", "clone-vm", "thread", "background", NULL};

static int is_block(const char* word) {
  for (const char* const* name = blocks; *name; name++)
    if (!strcmp(*name, word)) return 1;
  return 0;
}
static char** skip(char** v) {
  for (int depth = 0; *v; v++)
    if (is_block(*v))
      depth++;
    else if (!strcmp(*v, "end") && depth-- == 0)
      return v + 1;
  return v;
}
static int in_clone(void* v) {
  run(v);
  _exit(0);
}
static void* in_thread(void* v) {
  run(v);
  return NULL;
}
static char** block(char** v) {
  static char stack[2][65536] __attribute__((aligned(16)));
  static int stacks;
  pthread_t id;
  long made = 0;
  if (!strcmp(v[0], "fork") && !(made = fork())) in_clone(v + 1);
  if (!strcmp(v[0], "vfork") && !(made = vfork())) in_clone(v + 1);
  if (!strcmp(v[0], "clone-vm")) made = clone(in_clone, stack[stacks++ & 1] + 65536, CLONE_VM | SIGCHLD, v + 1);
  if (!strcmp(v[0], "thread")) made = -pthread_create(&id, NULL, in_thread, v + 1) ?: -pthread_join(id, NULL);
  if (!strcmp(v[0], "background")) made = -pthread_create(&id, NULL, in_thread, v + 1);
  if (made < 0) die(v[0], strerror(errno));
  return skip(v + 1);
}
static long v_wait(char** v) {
  (void)v;
  int status, bad = 0;
  while (wait(&status) > 0) bad |= status;
  errno = ECHILD;
  return bad ? -1 : 0;
}
static long v_exec(char** v) { return execvp(v[1], v + 1); }
static long v_comm(char** v) { return prctl(PR_SET_NAME, v[1]); }
static long v_setuid(char** v) { return setuid((uid_t)atoi(v[1])); }
static long v_sleep(char** v) { return usleep((unsigned)atoi(v[1]) * 1000); }
static long v_mark(char** v) { return close(open(v[1], O_CREAT | O_WRONLY, 0644)); }
static long v_await(char** v) {
  for (int tries = 0; tries < 4000; tries++, usleep(5000))
    if (!access(v[1], F_OK)) return 0;
  return -1;
}
static long v_pid(char** v) {
  FILE* f = fopen(v[1], "w");
  return f && fprintf(f, "%d\n", getpid()) > 0 && !fclose(f) ? 0 : -1;
}
static const struct verb process_verbs[] = {{"wait", 0, v_wait},   {"exec", 1, v_exec},     {"comm", 1, v_comm},
                                            {"sleep", 1, v_sleep}, {"mark", 1, v_mark},     {"await", 1, v_await},
                                            {"pid", 1, v_pid},     {"setuid", 1, v_setuid}, {NULL, 0, NULL}};
