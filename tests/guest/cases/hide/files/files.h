// What the sections share: a directory to work in, calls with their results, and what they left behind. See main.c.
#pragma once
#include "../calls.h"

extern const char* top;  // the directory of the section
extern unsigned char big[4 << 20], other[4 << 20];
extern volatile int signals;  // how often count() was called

// struct linux_dirent64
struct entry {
  uint64_t ino;
  int64_t off;
  unsigned short reclen;
  unsigned char type;
  char name[];
};

const char* in(const char* name);  // a path in the directory; the last eight are valid
void count(int signal);            // a handler
void make(const char* path, const char* text);
void show(int line, const char* what, const struct stat* st);
void text_of(int line, int fd);
void file_text(int line, const char* path);
// The sorted names and types of a directory, read with a buffer of that size.
void list_fd(int line, int fd, size_t size);
void list(int line, const char* path, size_t size);
void cwd(int line);
void flags_of(int line, int fd);
int lock_range(int fd, int command, int type, long start, long size);

// A call that gives a descriptor, which is closed again: a difference does not make others.
#define TRY(call)             \
  do {                        \
    int fd_ = R(call);        \
    if (fd_ >= 0) close(fd_); \
  } while (0)
#define STAT(path)                                             \
  do {                                                         \
    struct stat st_;                                           \
    if (R(stat(path, &st_)) == 0) show(__LINE__, #path, &st_); \
  } while (0)
#define LSTAT(path)                                             \
  do {                                                          \
    struct stat st_;                                            \
    if (R(lstat(path, &st_)) == 0) show(__LINE__, #path, &st_); \
  } while (0)
#define FSTAT(fd)                                           \
  do {                                                      \
    struct stat st_;                                        \
    if (R(fstat(fd, &st_)) == 0) show(__LINE__, #fd, &st_); \
  } while (0)
#define TEXT(fd) text_of(__LINE__, fd)
#define FILE_TEXT(path) file_text(__LINE__, path)
#define LIST(path) list(__LINE__, path, 32768)
#define CWD() cwd(__LINE__)
#define FLAGS(fd) flags_of(__LINE__, fd)

void test_opens(void);
void test_openat2s(void);
void test_openat2_large(void);
void test_data(void);
void test_vectors(void);
void test_bad_pointers(void);
void test_seeks(void);
void test_file_sizes(void);
void test_stats(void);
void test_accesses(void);
void test_renames(void);
void test_links(void);
void test_unlinks(void);
void test_make_directories(void);
void test_attributes(void);
void test_shut(void);
void test_special_bits(void);
void test_umasks(void);
void test_times(void);
void test_directories(void);
void test_working_directory(void);
void test_descriptors(void);
void test_close_ranges(void);
void test_limits(void);
void test_between(void);
void test_sendfiles(void);
void test_locks(void);
void test_record_locks(void);
void test_users(void);
void test_interrupted(void);
void test_rare(void);
void test_temporary(void);
