// What the files of this program share: main.c takes the host's commands, benchmarks.c has what is measured.
#pragma once

#include <stdint.h>

#define MAX_PHASES 2

// set_up() once, then batches; a batch gives the time of each phase, in ns, of so many calls.
struct Benchmark {
  const char* name;
  void (*set_up)(void);
  void (*batch)(uint64_t*);
  int phases, calls;
};
extern const struct Benchmark benchmarks[];
extern const int benchmark_count;

extern int is_managed;  // the process that measures has read a classified file
extern int pair[2];     // descriptors that a benchmark works on
extern char buffer[4096];
void datagram_pair(void);
void end_server(void);  // that the benchmark has started, if it has

void answer(const char* format, ...) __attribute__((format(printf, 1, 2)));  // to the host, "@r " before it
void check(int good, const char* what);  // else: says so, with errno, and ends the process
uint64_t now(void);                      // ns
