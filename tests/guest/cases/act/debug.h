#pragma once
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "common.h"

static int pid_in(const char* path) {
  char text[16] = "";
  int f = open(path, O_RDONLY);
  if (f < 0 || read(f, text, 15) <= 0) return -1;
  close(f);
  return atoi(text);
}
// From and into the memory of the process whose PID stands in a file.
static long v_vm_read(char** v) {
  struct iovec one = {buf, 4096};
  return got(process_vm_readv(pid_in(v[1]), &one, 1, &one, 1, 0));
}
static long v_vm_write(char** v) {
  struct iovec one = {buf, len};
  return process_vm_writev(pid_in(v[1]), &one, 1, &one, 1, 0);
}
static long v_mem_read(char** v) {
  char path[32];
  sprintf(path, "/proc/%d/mem", pid_in(v[1]));
  int f = open(path, O_RDONLY);
  return f < 0 ? -1 : got(pread(f, buf, 4096, (off_t)(uintptr_t)buf));
}
static long v_ptrace_read(char** v) {
  int pid = pid_in(v[1]);
  if (ptrace(PTRACE_ATTACH, pid, 0, 0) < 0 || waitpid(pid, NULL, 0) < 0) return -1;
  *(long*)buf = ptrace(PTRACE_PEEKDATA, pid, buf, 0);
  return ptrace(PTRACE_DETACH, pid, 0, 0);
}
static const struct verb debug_verbs[] = {{"vm-read", 1, v_vm_read},
                                          {"vm-write", 1, v_vm_write},
                                          {"mem-read", 1, v_mem_read},
                                          {"ptrace-read", 1, v_ptrace_read},
                                          {NULL, 0, NULL}};
