// What the sections share. See main.c.
#pragma once
#include "../calls.h"

extern struct sockaddr_in server;
extern char buffer[4096];
extern int later_pipe;        // what later() writes to
extern volatile int signals;  // how many have been handled

int connected(void);
void ask(int fd, const char* command);
int file(void);
void show(int line, struct pollfd* p, int n);
#define SHOW(p, n) show(__LINE__, p, n)
void* later(void* ms);
void handle(int number, int flags);
void after(long ms);  // SIGALRM

// Prints the call and whether it took at least `low` and at most `high` seconds.
#define TIMED(low, high, call)                                    \
  do {                                                            \
    double start_ = now();                                        \
    R(call);                                                      \
    double took_ = now() - start_;                                \
    if (took_ < (low) || took_ > (high)) SAY("took %.2f", took_); \
  } while (0)

void test_polls(void);
void test_selects(void);
void test_select_alone(void);
void test_epolls(void);
void test_epoll_threads(void);
void test_prompt(void);
void test_interrupted(void);
void test_handlers(void);
