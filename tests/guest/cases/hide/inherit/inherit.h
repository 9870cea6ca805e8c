// The parts of the program, and what they share.
#pragma once
#include "../calls.h"

extern const char* top;            // the directory that a part works in
extern char program[PATH_MAX];     // this one
const char* in(const char* name);  // a path in it; valid until the eighth call after this one

// Print what is in a file; what became of a child.
void text(int line, int fd);
void file_text(int line, const char* path);
void await(int line, pid_t pid);
#define TEXT(fd) text(__LINE__, fd)
#define FILE_TEXT(path) file_text(__LINE__, path)
#define AWAIT(pid) await(__LINE__, pid)
#define CHILD(...)         \
  do {                     \
    pid_t child_ = fork(); \
    if (!child_) {         \
      __VA_ARGS__;         \
      fflush(stdout);      \
      _exit(5);            \
    }                      \
    AWAIT(child_);         \
  } while (0)

// processes.c
void forks(void);
void passing(void);
// programs.c
void started(int fd, const char* what);
int exec_from_thread(char* fd);
void execs(void);
void family(void);
void others(void);
// threads.c
void threads(void);
void clones(void);
void unshares(void);
