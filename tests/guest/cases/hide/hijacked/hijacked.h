// What the files of this program share.
#pragma once

#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>

enum { kArea = 1 << 16 };
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

// arguments.c: what is right, nearly right, or anything.
void start_from(uint64_t seed);
uint64_t any(void);
uint64_t below(uint64_t n);
extern unsigned char* area;  // arguments live here, kArea bytes; the page behind it is not there
extern int fds[32];          // hidden ones, and some that are not
extern int fd_count, all_there;
uint64_t some_path(void);
uint64_t some_descriptor(void);
uint64_t some_argument(void);
void random_bytes(void* at, size_t size);
void clean(void);     // what others before did to the files is undone: calls are to find something
void open_all(void);  // area and fds

void calls(uint64_t wanted);                          // calls.c
void races(uint64_t wanted);                          // races.c
void flood(uint64_t wanted), large(uint64_t wanted);  // floods.c
