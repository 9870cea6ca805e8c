#pragma once
#include <sys/ipc.h>
#include <sys/shm.h>

#include "common.h"

// map MAP FD HOW: HOW has s (shared) or p (private), r, w
static long v_map(char** v) {
  int protection = (strchr(v[3], 'r') ? PROT_READ : 0) | (strchr(v[3], 'w') ? PROT_WRITE : 0);
  char* at = mmap(NULL, 4096, protection, strchr(v[3], 's') ? MAP_SHARED : MAP_PRIVATE, fd(v[2]), 0);
  if (at == MAP_FAILED) return -1;
  *map_slot(v[1]) = at;
  return 0;
}
static long v_anonymous(char** v) {
  char* at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return -1;
  *map_slot(v[1]) = at;
  return 0;
}
static long v_writable(char** v) { return mprotect(*map_slot(v[1]), 4096, PROT_READ | PROT_WRITE); }
static long v_unmap(char** v) { return munmap(*map_slot(v[1]), 4096); }
static long v_peek(char** v) {
  memcpy(buf, *map_slot(v[1]), sizeof buf);
  len = strnlen(buf, sizeof buf);
  return 0;
}
static long v_poke(char** v) {
  memcpy(*map_slot(v[1]), buf, len);
  return 0;
}
static long v_resize(char** v) { return ftruncate(fd(v[1]), 4096); }
static long v_memfd(char** v) { return keep(v[1], memfd_create("notes", 0)); }
static long v_shm(char** v) {  // SysV: shm MAP KEY
  int id = shmget((key_t)atoi(v[2]), 4096, IPC_CREAT | 0600);
  char* at = id < 0 ? (char*)-1 : shmat(id, NULL, 0);
  if (at == (char*)-1) return -1;
  *map_slot(v[1]) = at;
  return 0;
}
static const struct verb memory_verbs[] = {{"map", 3, v_map},           {"anonymous", 1, v_anonymous},
                                           {"writable", 1, v_writable}, {"unmap", 1, v_unmap},
                                           {"peek", 1, v_peek},         {"poke", 1, v_poke},
                                           {"resize", 1, v_resize},     {"memfd", 1, v_memfd},
                                           {"shm", 2, v_shm},           {NULL, 0, NULL}};
