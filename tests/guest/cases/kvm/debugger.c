// What gdb does: single steps, and hardware breakpoints and watchpoints, in a child.
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile long watched;
__attribute__((noinline)) void marked(void) { __asm__ volatile("nop"); }

static long registers(pid_t child, int number) { return ptrace(PTRACE_PEEKUSER, child, offsetof(struct user, u_debugreg[number]), 0); }
static void set(pid_t child, int number, unsigned long value) {
  if (ptrace(PTRACE_POKEUSER, child, offsetof(struct user, u_debugreg[number]), value) != 0) {
    perror("debug register");
    exit(1);
  }
}

int main(void) {
  const pid_t child = fork();
  if (child == 0) {
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    raise(SIGSTOP);
    for (volatile int i = 0; i < 1000; ++i) {
    }
    for (int i = 0; i < 3; ++i) {
      marked();
      watched = i;
      getppid();
    }
    _exit(0);
  }
  int status, steps = 0, executed = 0, written = 0;
  waitpid(child, &status, 0);
  for (; steps < 500; ++steps) {
    ptrace(PTRACE_SINGLESTEP, child, 0, 0);
    waitpid(child, &status, 0);
    if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP) break;
  }
  printf("%d single steps\n", steps);
  set(child, 0, (unsigned long)marked);
  set(child, 1, (unsigned long)&watched);
  set(child, 7, 1 | 1 << 2 | 1UL << 20 | 3UL << 22);  // DR0: execution; DR1: a write of 8 bytes... is 2, of 4 is 3
  for (;;) {
    ptrace(PTRACE_CONT, child, 0, 0);
    waitpid(child, &status, 0);
    if (!WIFSTOPPED(status)) break;
    const long hit = registers(child, 6);
    executed += hit & 1;
    written += hit >> 1 & 1;
    set(child, 6, 0);
    if (hit & 1) {  // past it without the breakpoint, as gdb does
      set(child, 7, 1 << 2 | 1UL << 20 | 3UL << 22);
      ptrace(PTRACE_SINGLESTEP, child, 0, 0);
      waitpid(child, &status, 0);
      set(child, 7, 1 | 1 << 2 | 1UL << 20 | 3UL << 22);
    }
  }
  printf("breakpoint %s, watchpoint %s\n", executed >= 2 ? "hit" : "missed", written >= 2 ? "hit" : "missed");
  return 0;
}
