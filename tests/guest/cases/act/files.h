#pragma once
#include <sys/sendfile.h>

#include "common.h"

static int open_flags(const char* text) {
  int flags = strchr(text, 'w') ? (strchr(text, 'r') ? O_RDWR : O_WRONLY) : O_RDONLY;
  for (; *text; text++)
    flags |= *text == 'c'   ? O_CREAT
             : *text == 't' ? O_TRUNC
             : *text == 'd' ? O_DIRECT
             : *text == 'T' ? O_TMPFILE
             : *text == 'a' ? O_APPEND
             : *text == 'P' ? O_PATH
                            : 0;
  return flags;
}
static struct iovec* halves(void) {
  static struct iovec v[2];
  v[0] = (struct iovec){buf, 2};
  v[1] = (struct iovec){buf + 2, len > 2 ? len - 2 : 1};
  return v;
}
static long v_open(char** v) { return keep(v[1], open(v[2], open_flags(v[3]), 0644)); }
static long v_use(char** v) { return keep(v[1], atoi(v[2])); }  // use SLOT NUMBER
static long v_close(char** v) { return close(fd(v[1])); }
static long v_read(char** v) { return got(read(fd(v[1]), buf, sizeof buf)); }
static long v_pread(char** v) { return got(pread(fd(v[1]), buf, sizeof buf, 0)); }
static long v_readv(char** v) { return got(readv(fd(v[1]), halves(), 2)); }
static long v_preadv2(char** v) { return got(preadv2(fd(v[1]), halves(), 2, 0, 0)); }
static long v_eof(char** v) { return read(fd(v[1]), buf, sizeof buf) == 0 ? 0 : -1; }
static long v_write(char** v) { return write(fd(v[1]), buf, len); }
static long v_write_page(char** v) { return write(fd(v[1]), buf, sizeof buf); }
static long v_pwrite(char** v) { return pwrite(fd(v[1]), buf, len, 0); }
static long v_writev(char** v) { return writev(fd(v[1]), halves(), 2); }
static long v_pwritev2(char** v) { return pwritev2(fd(v[1]), halves(), 2, 0, 0); }
static long v_sendfile(char** v) {
  off_t at = 0;
  return got(sendfile(fd(v[1]), fd(v[2]), &at, 4096));
}
static long v_copy_range(char** v) { return got(copy_file_range(fd(v[2]), NULL, fd(v[1]), NULL, 4096, 0)); }
static long v_splice(char** v) { return got(splice(fd(v[2]), NULL, fd(v[1]), NULL, 4096, 0)); }
static long v_tee(char** v) { return got(tee(fd(v[2]), fd(v[1]), 4096, 0)); }
static long v_vmsplice(char** v) {
  struct iovec one = {buf, len};
  return vmsplice(fd(v[1]), &one, 1, 0);
}
static long v_stat(char** v) {
  struct stat s;
  return stat(v[1], &s);
}
static long v_truncate(char** v) { return truncate(v[1], 0); }
static long v_rename(char** v) { return rename(v[1], v[2]); }
static long v_exchange(char** v) { return renameat2(AT_FDCWD, v[1], AT_FDCWD, v[2], RENAME_EXCHANGE); }
static long v_unlink(char** v) { return unlink(v[1]); }
static long v_name(char** v) {  // gives an O_TMPFILE file a name
  char path[32];
  sprintf(path, "/proc/self/fd/%d", fd(v[1]));
  return linkat(AT_FDCWD, path, AT_FDCWD, v[2], AT_SYMLINK_FOLLOW);
}
static const struct verb file_verbs[] = {{"open", 3, v_open},
                                         {"use", 2, v_use},
                                         {"close", 1, v_close},
                                         {"read", 1, v_read},
                                         {"pread", 1, v_pread},
                                         {"readv", 1, v_readv},
                                         {"preadv2", 1, v_preadv2},
                                         {"eof", 1, v_eof},
                                         {"write", 1, v_write},
                                         {"write-page", 1, v_write_page},
                                         {"pwrite", 1, v_pwrite},
                                         {"writev", 1, v_writev},
                                         {"pwritev2", 1, v_pwritev2},
                                         {"sendfile", 2, v_sendfile},
                                         {"copy-range", 2, v_copy_range},
                                         {"splice", 2, v_splice},
                                         {"tee", 2, v_tee},
                                         {"vmsplice", 1, v_vmsplice},
                                         {"stat", 1, v_stat},
                                         {"truncate", 1, v_truncate},
                                         {"rename", 2, v_rename},
                                         {"exchange", 2, v_exchange},
                                         {"unlink", 1, v_unlink},
                                         {"name", 2, v_name},
                                         {NULL, 0, NULL}};
