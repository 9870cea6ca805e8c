// File calls, each with its result. See calls.h.
// Left out as they may differ: inode and device numbers, times that were not set, sizes of directories, st_blksize, the values of statfs,
// mmap of a hidden file (ENODEV by design), io_uring, /proc/self/fd.
#include "calls.h"
#include <dirent.h>
#include <linux/openat2.h>
#include <sys/sendfile.h>
#include <sys/statfs.h>
#include <sys/vfs.h>

static const char *top;
static char names[8][512];
static int next_name;

// A path in the directory of the test.
static const char *in(const char *name) {
    char *path = names[next_name++ % 8];
    snprintf(path, sizeof names[0], "%s/%s", top, name);
    return path;
}

static unsigned char big[4 << 20], other[4 << 20];

static void show(int line, const char *what, const struct stat *st) {
    printf("%d %s: mode %o uid %u gid %u links %lu", line, what, st->st_mode, st->st_uid, st->st_gid, (unsigned long)st->st_nlink);
    if (!S_ISDIR(st->st_mode)) printf(" size %ld blocks %s", (long)st->st_size, st->st_blocks ? "some" : "none");
    putchar('\n');
    fflush(stdout);
}
// A call that gives a descriptor, which is closed again: a difference does not make others.
#define TRY(call)                                                              \
    do {                                                                       \
        int fd_ = R(call);                                                     \
        if (fd_ >= 0) close(fd_);                                              \
    } while (0)
#define STAT(path)                                                             \
    do {                                                                       \
        struct stat st_;                                                       \
        if (R(stat(path, &st_)) == 0) show(__LINE__, #path, &st_);             \
    } while (0)
#define LSTAT(path)                                                            \
    do {                                                                       \
        struct stat st_;                                                       \
        if (R(lstat(path, &st_)) == 0) show(__LINE__, #path, &st_);            \
    } while (0)
#define FSTAT(fd)                                                              \
    do {                                                                       \
        struct stat st_;                                                       \
        if (R(fstat(fd, &st_)) == 0) show(__LINE__, #fd, &st_);                \
    } while (0)

static void make(const char *path, const char *text) {
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0644);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text)) SAY("make: %s", strerrorname_np(errno));
    close(fd);
}

static void text_of(int line, int fd) {
    char buffer[256];
    ssize_t n = pread(fd, buffer, sizeof buffer, 0);
    printf("%d text %zd %.*s\n", line, n, n > 0 ? (int)n : 0, buffer);
    fflush(stdout);
}
#define TEXT(fd) text_of(__LINE__, fd)

static void file_text(int line, const char *path) {
    int fd = open(path, O_RDONLY);
    if (fd < 0) {
        printf("%d no text: %s\n", line, strerrorname_np(errno));
        fflush(stdout);
        return;
    }
    text_of(line, fd);
    close(fd);
}
#define FILE_TEXT(path) file_text(__LINE__, path)

struct entry {
    uint64_t ino;
    int64_t off;
    unsigned short reclen;
    unsigned char type;
    char name[];
};

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

// The sorted names and types of a directory, read with a buffer of the given size.
static void list_fd(int line, int fd, size_t size) {
    char *found[2000];
    int count = 0, calls = 0;
    char *buffer = malloc(size);
    for (;;) {
        long n = syscall(SYS_getdents64, fd, buffer, size);
        if (n < 0) printf("%d getdents64 %s\n", line, strerrorname_np(errno));
        if (n <= 0) break;
        ++calls;
        if (n > (long)size) printf("%d getdents64 gave %ld for %zu\n", line, n, size);
        for (long at = 0; at < n && count < 2000;) {
            struct entry *e = (struct entry *)(buffer + at);
            char *text = malloc(strlen(e->name) + 8);
            sprintf(text, "%s:%u", e->name, e->type);
            found[count++] = text;
            if (e->reclen % 8) printf("%d reclen %u\n", line, e->reclen);
            at += e->reclen;
        }
    }
    qsort(found, count, sizeof *found, by_name);
    uint32_t all = 0;
    for (int i = 0; i < count; ++i) all = all * 31 + hash(found[i], strlen(found[i]));
    printf("%d list %d hash %x %s:", line, count, all, calls > 1 ? "several calls" : "one call");
    for (int i = 0; i < count && i < 30; ++i) printf(" %s", found[i]);
    putchar('\n');
    fflush(stdout);
    for (int i = 0; i < count; ++i) free(found[i]);
    free(buffer);
}

static void list(int line, const char *path, size_t size) {
    int fd = open(path, O_RDONLY | O_DIRECTORY);
    if (fd < 0) {
        printf("%d no list: %s\n", line, strerrorname_np(errno));
        return;
    }
    list_fd(line, fd, size);
    close(fd);
}
#define LIST(path) list(__LINE__, path, 32768)

static void cwd(int line) {
    char path[4096];
    long n = syscall(SYS_getcwd, path, sizeof path);
    if (n < 0) {
        printf("%d getcwd %s\n", line, strerrorname_np(errno));
    } else if (!strncmp(path, top, strlen(top))) {
        printf("%d getcwd %ld TOP%s\n", line, n, path + strlen(top));
    } else {
        printf("%d getcwd %ld %s\n", line, n, path);
    }
    fflush(stdout);
}
#define CWD() cwd(__LINE__)

static void flags_of(int line, int fd) { // what F_GETFL says, without what only says how the kernel was built
    int flags = fcntl(fd, F_GETFL);
    printf("%d F_GETFL %o F_GETFD %d\n", line, flags, fcntl(fd, F_GETFD));
    fflush(stdout);
}
#define FLAGS(fd) flags_of(__LINE__, fd)

static void opens(void) {
    int fd;
    char buffer[100];
    TRY(open(in("none"), O_RDONLY));
    R(unlink(in("open")));
    R(fd = open(in("open"), O_CREAT | O_EXCL | O_RDWR, 0640));
    STAT(in("open"));
    FLAGS(fd);
    TRY(open(in("open"), O_CREAT | O_EXCL | O_RDWR, 0640));
    R(write(fd, "0123456789", 10));
    R(close(fd));
    R(fd = open(in("open"), O_RDONLY));
    FLAGS(fd);
    R(write(fd, "x", 1));
    R(ftruncate(fd, 1));
    char c;
    R(read(fd, &c, 1));
    R(close(fd));
    R(fd = open(in("open"), O_WRONLY));
    FLAGS(fd);
    R(read(fd, &c, 1));
    R(close(fd));
    R(fd = open(in("open"), O_RDWR | O_TRUNC));
    FSTAT(fd);
    R(close(fd));
    R(fd = open(in("open"), O_RDONLY | O_CREAT, 0600));
    FSTAT(fd);
    R(close(fd));
    R(fd = open(in("open"), O_WRONLY | O_APPEND | O_CLOEXEC));
    FLAGS(fd);
    R(write(fd, "abc", 3));
    R(lseek(fd, 0, SEEK_SET));
    R(write(fd, "def", 3));
    R(lseek(fd, 0, SEEK_CUR));
    R(pwrite(fd, "ghi", 3, 0));
    R(lseek(fd, 0, SEEK_CUR));
    R(close(fd));
    FILE_TEXT(in("open"));
    TRY(open(in("open"), O_DIRECTORY | O_RDONLY));
    TRY(open(in("open/x"), O_RDONLY));
    TRY(open(in("open/"), O_RDONLY));
    TRY(open(in("new/"), O_CREAT | O_RDWR, 0600));
    TRY(open(in("no/new"), O_CREAT | O_RDWR, 0600));
    TRY(open("", O_RDONLY));
    TRY(open(NULL, O_RDONLY));
    TRY(open((char *)-4096, O_RDONLY));
    R(mkdir(in("d"), 0755));
    TRY(open(in("dir"), O_RDWR));
    TRY(open(in("dir"), O_WRONLY));
    TRY(open(in("dir"), O_CREAT | O_RDONLY, 0600));
    TRY(open(in("dir"), O_CREAT | O_DIRECTORY | O_EXCL, 0600));
    R(fd = open(in("dir"), O_RDONLY));
    FLAGS(fd);
    R(read(fd, &c, 1));
    R(write(fd, &c, 1));
    R(pread(fd, &c, 1, 0));
    R(ftruncate(fd, 0));
    R(fsync(fd));
    R(close(fd));
    R(fd = open(in("dir"), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    FLAGS(fd);
    int file;
    R(file = openat(fd, "inside", O_CREAT | O_RDWR | O_EXCL, 0604));
    FSTAT(file);
    R(close(file));
    R(file = openat(fd, "../open", O_RDONLY));
    TEXT(file);
    R(close(file));
    TRY(openat(fd, "none", O_RDONLY));
    TRY(openat(fd, "", O_RDONLY));
    TRY(openat(999, "inner", O_RDONLY));
    TRY(openat(-1, "inner", O_RDONLY));
    R(file = openat(999, in("open"), O_RDONLY)); // the descriptor does not matter
    TRY(openat(file, "inner", O_RDONLY));
    R(close(file));
    R(file = openat(fd, "/dev/null", O_RDWR));
    R(write(file, "x", 1));
    R(close(file));
    R(close(fd));
    TRY(open(in("link"), O_RDONLY | O_NOFOLLOW));
    TRY(open(in("link"), O_CREAT | O_EXCL | O_RDONLY, 0600));
    R(fd = open(in("link"), O_RDONLY));
    TEXT(fd);
    R(close(fd));
    R(fd = open(in("link"), O_PATH | O_NOFOLLOW));
    R(fcntl(fd, F_GETFL) & (O_PATH | O_NOFOLLOW | O_ACCMODE));
    R(read(fd, &c, 1));
    R(fchmod(fd, 0600));
    LSTAT(in("link"));
    FSTAT(fd);
    R(readlinkat(fd, "", buffer, 3));
    R(close(fd));
    R(fd = open(in("open"), O_PATH));
    R(read(fd, &c, 1));
    FSTAT(fd);
    R(close(fd));
    TRY(open(in("round"), O_RDONLY));
    TRY(open(in("round/x"), O_RDONLY));
    TRY(open(in("dangling"), O_RDONLY));
    TRY(open(in("dangling"), O_CREAT | O_EXCL | O_RDWR, 0600));
    R(fd = open(in("dangling"), O_CREAT | O_RDWR, 0600));
    R(close(fd));
    STAT(in("nowhere"));
    char absolute[300];
    snprintf(absolute, sizeof absolute, "%s/open", top);
    R(symlink(absolute, in("absolute")));
    FILE_TEXT(in("absolute"));
    R(symlink("..", in("dir/up")));
    FILE_TEXT(in("dir/up/open"));
    FILE_TEXT(in("dir/../open"));
    FILE_TEXT(in("./dir/.././/open"));
    FILE_TEXT(in("none/../open"));
    FILE_TEXT(in("open/../open"));
    char name[300];
    memset(name, 'n', sizeof name);
    name[255] = 0;
    R(fd = open(in(name), O_CREAT | O_RDWR, 0600));
    R(close(fd));
    R(unlink(in(name)));
    name[255] = 'n';
    name[256] = 0;
    TRY(open(in(name), O_CREAT | O_RDWR, 0600));
    R(unlink(in(name)));
    R(mkdir(in(name), 0700));
    static char path[6000];
    for (int length = 4094; length <= 4097; ++length) { // padded with slashes
        strcpy(path, top);
        while ((int)strlen(path) < length - 4) strcat(path, "/");
        strcat(path, "open");
        SAY("length %d", (int)strlen(path));
        R(fd = open(path, O_RDONLY));
        if (fd >= 0) R(close(fd));
    }
    R(fd = creat(in("creat"), 0755));
    FLAGS(fd);
    FSTAT(fd);
    R(write(fd, "abc", 3));
    R(read(fd, &c, 1));
    R(close(fd));
    R(fd = creat(in("creat"), 0600));
    FSTAT(fd);
    R(close(fd));
    R(fd = open(in("sync"), O_CREAT | O_RDWR | O_SYNC | O_NOATIME | O_NONBLOCK, 0600));
    FLAGS(fd);
    R(write(fd, "abc", 3));
    R(close(fd));
    // A file keeps working without its name.
    R(fd = open(in("gone"), O_CREAT | O_RDWR, 0600));
    R(unlink(in("gone")));
    FSTAT(fd);
    R(write(fd, "still", 5));
    TEXT(fd);
    TRY(open(in("gone"), O_RDONLY));
    R(close(fd));
}

static void openat2s(void) {
    int fd;
    R(symlink("..", in("dir/up")));
    struct open_how how = {.flags = O_RDONLY};
    int dir;
    R(dir = open(in("dir"), O_PATH | O_DIRECTORY));
    R(fd = syscall(SYS_openat2, dir, "../open", &how, sizeof how));
    TEXT(fd);
    R(close(fd));
    how.resolve = RESOLVE_BENEATH;
    TRY(syscall(SYS_openat2, dir, "../open", &how, sizeof how));
    TRY(syscall(SYS_openat2, dir, "up/open", &how, sizeof how));
    TRY(syscall(SYS_openat2, dir, "inner", &how, sizeof how));
    TRY(syscall(SYS_openat2, dir, "/dev/null", &how, sizeof how));
    how.resolve = RESOLVE_NO_SYMLINKS;
    TRY(syscall(SYS_openat2, dir, "../link", &how, sizeof how));
    how.resolve = RESOLVE_IN_ROOT;
    TRY(syscall(SYS_openat2, dir, "/../../inner", &how, sizeof how));
    how.resolve = 0;
    TRY(syscall(SYS_openat2, dir, "inner", &how, 8));
    TRY(syscall(SYS_openat2, dir, "inner", NULL, sizeof how));
    how.flags = 1ull << 40;
    TRY(syscall(SYS_openat2, dir, "inner", &how, sizeof how));
    how.flags = O_RDONLY;
    how.mode = 0600;
    TRY(syscall(SYS_openat2, dir, "inner", &how, sizeof how));
    how.flags = O_CREAT | O_RDWR | O_CLOEXEC;
    R(fd = syscall(SYS_openat2, dir, "by-openat2", &how, sizeof how));
    FLAGS(fd);
    FSTAT(fd);
    R(close(fd));
    how.resolve = 1 << 20;
    TRY(syscall(SYS_openat2, dir, "inner", &how, sizeof how));
    R(close(dir));
}

// The structure of a program that was built for a later kernel: what is behind the part that is known has to be 0.
static void openat2_large(void) {
    int fd, dir;
    struct {
        struct open_how how;
        uint64_t more;
    } large = {.how = {.flags = O_RDONLY}};
    R(dir = open(in("dir"), O_PATH | O_DIRECTORY));
    R(fd = syscall(SYS_openat2, dir, "inner", &large, sizeof large));
    TEXT(fd);
    R(close(fd));
    R(fd = syscall(SYS_openat2, AT_FDCWD, in("open"), &large, sizeof large));
    TEXT(fd);
    R(close(fd));
    large.more = 1;
    TRY(syscall(SYS_openat2, dir, "inner", &large, sizeof large));
    TRY(syscall(SYS_openat2, AT_FDCWD, in("open"), &large, sizeof large));
    TRY(syscall(SYS_openat2, AT_FDCWD, in("open"), &large, 5000));
    R(close(dir));
}

static const size_t sizes[] = {0, 1, 4095, 4096, 4097, 32767, 32768, 32769, 65536, 65537, 1 << 20, 3 << 20};
#define SIZES (sizeof sizes / sizeof *sizes)

static void data(void) {
    int fd;
    R(fd = open(in("data"), O_CREAT | O_RDWR | O_TRUNC, 0644));
    for (size_t i = 0; i < SIZES; ++i) {
        fill(big, sizes[i], i);
        R(write(fd, big, sizes[i]));
        SAY("size %zu at %ld", sizes[i], (long)lseek(fd, 0, SEEK_CUR));
    }
    long at = 0;
    for (size_t i = 0; i < SIZES; ++i) {
        memset(other, 0, sizeof other);
        R(lseek(fd, at, SEEK_SET));
        R(read(fd, other, sizes[i]));
        at += (long)sizes[i];
        SAY("size %zu hash %x at %ld", sizes[i], hash(other, sizes[i] + 16), (long)lseek(fd, 0, SEEK_CUR));
    }
    R(read(fd, other, 100));
    R(read(fd, other, 0));
    R(lseek(fd, -10, SEEK_END));
    R(read(fd, other, sizeof other));
    for (size_t i = 0; i < SIZES; ++i) {
        fill(big, sizes[i], 100 + i);
        R(pwrite(fd, big + 1, sizes[i] ? sizes[i] - 1 : 0, 12345 * i + 7));
        memset(other, 1, sizeof other);
        R(pread(fd, other + 3, sizes[i], 1000 * i + 3));
        SAY("hash %x at %ld", hash(other, sizes[i] + 16), (long)lseek(fd, 0, SEEK_CUR));
    }
    FSTAT(fd);
    R(pread(fd, other, 10, -1));
    R(pwrite(fd, other, 10, -1));
    R(pread(fd, other, 10, 1ll << 40));
    R(pread(fd, other, 10, LLONG_MAX));
    R(pwrite(fd, other, 10, LLONG_MAX - 3));
    R(close(fd));
}

static void vectors(void) {
    int fd;
    R(fd = open(in("data"), O_CREAT | O_RDWR | O_TRUNC, 0644));
    struct iovec v[8] = {{big, 1}, {big + 10, 0}, {big + 100, 4095}, {big + 10000, 70000}, {NULL, 0}, {big + 5, 3}};
    fill(big, sizeof big, 77);
    R(writev(fd, v, 6));
    R(writev(fd, v, 0));
    R(writev(fd, v, -1));
    R(writev(fd, v, 1025));
    R(writev(fd, NULL, 1));
    R(lseek(fd, 1, SEEK_SET));
    struct iovec w[8] = {{other, 3}, {other + 100, 0}, {other + 1000, 5000}, {other + 20000, 1 << 20}};
    memset(other, 0, sizeof other);
    R(readv(fd, w, 4));
    SAY("hash %x at %ld", hash(other, sizeof other), (long)lseek(fd, 0, SEEK_CUR));
    R(pwritev(fd, v, 6, 100000));
    memset(other, 0, sizeof other);
    R(preadv(fd, w, 4, 99990));
    SAY("hash %x at %ld", hash(other, sizeof other), (long)lseek(fd, 0, SEEK_CUR));
    R(preadv(fd, w, 4, -1));
    R(pwritev2(fd, v, 6, 5, 0));
    R(pwritev2(fd, v, 1, -1, 0)); // at the file's offset
    SAY("at %ld", (long)lseek(fd, 0, SEEK_CUR));
    R(preadv2(fd, w, 2, 7, 0));
    R(preadv2(fd, w, 2, -1, 0));
    SAY("at %ld", (long)lseek(fd, 0, SEEK_CUR));
    R(pwritev2(fd, v, 3, 5, RWF_APPEND));
    R(pwritev2(fd, v, 3, 5, RWF_DSYNC));
    R(pwritev2(fd, v, 3, 5, RWF_SYNC | RWF_HIPRI));
    R(pwritev2(fd, v, 3, 5, 1 << 20));
    R(preadv2(fd, w, 3, 5, 1 << 20));
    FSTAT(fd);
    static struct iovec many[1024];
    for (int i = 0; i < 1024; ++i) many[i] = (struct iovec){big + i * 1000, (size_t)(i % 7)};
    R(pwritev(fd, many, 1024, 0));
    for (int i = 0; i < 1024; ++i) many[i] = (struct iovec){other + i * 1000, (size_t)(i % 5)};
    memset(other, 0, sizeof other);
    R(preadv(fd, many, 1024, 0));
    SAY("hash %x", hash(other, sizeof other));
    struct iovec overflow[2] = {{big, SSIZE_MAX}, {big, SSIZE_MAX}};
    R(writev(fd, overflow, 2));
    R(readv(fd, overflow, 2));
    R(close(fd));
}

static void bad_pointers(void) {
    int fd;
    R(fd = open(in("bad"), O_CREAT | O_RDWR | O_TRUNC, 0644));
    char *pages = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    fill(pages, 3 * 4096, 5);
    munmap(pages + 8192, 4096);
    R(mprotect(pages + 4096, 4096, PROT_READ));
    R(write(fd, NULL, 1));
    R(write(fd, NULL, 0));
    R(write(fd, (void *)0x1000, 10));
    R(write(fd, (void *)0xffffffff81000000, 10));
    R(write(fd, (void *)-1l, 1));
    R(write(fd, pages, 8192)); // the second page can be read
    R(write(fd, pages + 8192, 1));
    FSTAT(fd);
    R(lseek(fd, 0, SEEK_SET));
    R(read(fd, NULL, 1));
    R(read(fd, NULL, 0));
    R(read(fd, (void *)0x1000, 10));
    R(read(fd, (void *)0xffffffff81000000, 10));
    R(read(fd, pages + 4096, 10)); // which cannot be written
    SAY("at %ld", (long)lseek(fd, 0, SEEK_CUR));
    R(read(fd, pages + 8192, 10));
    SAY("at %ld", (long)lseek(fd, 0, SEEK_CUR));
    R(read(fd, pages, 10));
    R(read(fd, (void *)&hash, 10)); // code
    R(pread(fd, (void *)8, 10, 0));
    R(stat(NULL, (struct stat *)pages));
    R(stat(in("bad"), NULL));
    R(syscall(SYS_newfstatat, AT_FDCWD, in("bad"), pages + 4096, 0));
    R(syscall(SYS_fstat, fd, pages + 8192));
    R(syscall(SYS_statx, AT_FDCWD, in("bad"), 0, 0xfff, NULL));
    R(readlink(in("link"), NULL, 10));
    R(readlink(NULL, pages, 10));
    R(mkdir(NULL, 0700));
    R(rename(in("bad"), NULL));
    R(syscall(SYS_getdents64, fd, pages, 100));
    int dir;
    R(dir = open(in("dir"), O_RDONLY));
    R(syscall(SYS_getdents64, dir, NULL, 4096));
    R(syscall(SYS_getdents64, dir, pages + 8192, 4096));
    R(syscall(SYS_getdents64, dir, pages, 10));
    R(close(dir));
    struct iovec bad[3] = {{pages, 10}, {NULL, 10}, {pages, 10}};
    R(writev(fd, (struct iovec *)(pages + 8192), 1));
    TRY(syscall(SYS_openat, AT_FDCWD, pages + 8192, O_RDONLY));
    // A path that ends with its page.
    strcpy(pages, top);
    R(mprotect(pages + 4096, 4096, PROT_READ | PROT_WRITE));
    int length = (int)strlen(top) + 5;
    char *at = pages + 8192 - length;
    memcpy(at, top, strlen(top));
    memcpy(at + strlen(top), "/bad", 5);
    R(access(at, F_OK));
    at[length - 1] = 'd';
    R(access(at, F_OK)); // no end
    fill(pages, 8192, 6);
    R(ftruncate(fd, 0));
    R(lseek(fd, 0, SEEK_SET));
    R(writev(fd, bad, 3)); // what can be read is written
    SAY("at %ld", (long)lseek(fd, 0, SEEK_CUR));
    R(lseek(fd, 0, SEEK_SET));
    R(readv(fd, bad, 3));
    SAY("at %ld", (long)lseek(fd, 0, SEEK_CUR));
    // A buffer that ends in an unmapped page: what was there before it is written or read.
    R(ftruncate(fd, 0));
    R(pwrite(fd, pages + 4096, 8192, 0));
    FSTAT(fd);
    R(ftruncate(fd, 0));
    R(pwrite(fd, pages, 8192, 0));
    memset(pages, 0, 8192);
    R(pread(fd, pages + 4096, 8192, 0));
    SAY("hash %x", hash(pages + 4096, 4096));
    char *unread = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    R(write(fd, unread, 10));
    R(read(fd, unread, 10));
    // Pages that were never touched, or are copied on write.
    char *fresh = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    R(pread(fd, fresh + 5000, 8192, 0));
    SAY("hash %x", hash(fresh, 1 << 20));
    R(pwrite(fd, fresh + (1 << 19), 10000, 0));
    R(munmap(fresh, 1 << 20));
    fflush(stdout);
    fill(big, 65536, 3);
    R(pwrite(fd, big, 65536, 0));
    pid_t child = fork();
    if (!child) {
        ssize_t n = pread(fd, other, 65536, 0); // into pages shared with the parent until now
        _exit(n == 65536 && !memcmp(big, other, 65536) ? 7 : 8);
    }
    int status;
    waitpid(child, &status, 0);
    SAY("child %d", WEXITSTATUS(status));
    SAY("parent's %x", hash(other, 65536));
    // A page of a file, mapped privately, as buffer.
    char *self = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE, open("/proc/self/exe", O_RDONLY), 0);
    R(pwrite(fd, self, 65536, 0));
    R(pread(fd, self + 100, 5000, 1));
    SAY("%d", memcmp(self, "\177ELF", 4));
    R(close(fd));
}

static void seeks(void) {
    int fd;
    R(fd = open(in("seek"), O_CREAT | O_RDWR | O_TRUNC, 0644));
    R(lseek(fd, 1 << 20, SEEK_SET));
    R(write(fd, "end", 3));
    R(lseek(fd, 0, SEEK_END));
    R(lseek(fd, -3, SEEK_END));
    R(lseek(fd, -1000, SEEK_CUR));
    R(lseek(fd, -1, SEEK_SET));
    R(lseek(fd, -(2 << 20), SEEK_END));
    R(lseek(fd, 0, 17));
    R(lseek(fd, 0, SEEK_DATA));
    R(lseek(fd, 0, SEEK_HOLE));
    R(lseek(fd, 1 << 20, SEEK_HOLE));
    R(lseek(fd, (1 << 20) + 3, SEEK_DATA));
    R(lseek(fd, 5 << 20, SEEK_HOLE));
    R(lseek(fd, 5 << 20, SEEK_SET));
    R(read(fd, big, 10));
    R(lseek(fd, 1ll << 33, SEEK_SET));
    R(lseek(fd, 0, SEEK_CUR));
    R(lseek(fd, LLONG_MAX, SEEK_SET));
    R(lseek(fd, LLONG_MAX, SEEK_END));
    R(pread(fd, big, 100, 4000));
    SAY("hash %x", hash(big, 100));
    R(lseek(77, 0, SEEK_SET));
    R(close(fd));
}

static void file_sizes(void) {
    int fd;
    make(in("seek"), "0123456789 0123456789");
    R(truncate(in("seek"), 10));
    STAT(in("seek"));
    R(truncate(in("seek"), 100000));
    STAT(in("seek"));
    R(truncate(in("seek"), -1));
    R(truncate(in("none"), 1));
    R(truncate(in("dir"), 1));
    R(truncate(in("seek/x"), 1));
    R(fd = open(in("seek"), O_RDWR));
    R(ftruncate(fd, 5));
    R(ftruncate(fd, -1));
    FSTAT(fd);
    R(ftruncate(fd, 1ll << 32));
    FSTAT(fd);
    R(ftruncate(fd, 0));
    R(fallocate(fd, 0, 0, 50000));
    FSTAT(fd);
    R(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 200000));
    FSTAT(fd);
    R(fallocate(fd, 0, -1, 10));
    R(fallocate(fd, 0, 0, 0));
    R(fallocate(fd, 0x4000, 0, 10));
    fill(big, 50000, 1);
    R(pwrite(fd, big, 50000, 0));
    R(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 8192));
    R(pread(fd, other, 50000, 0));
    SAY("hash %x", hash(other, 50000));
    R(posix_fallocate(fd, 0, 60000));
    FSTAT(fd);
    R(posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL));
    R(posix_fadvise(fd, 0, 0, 77));
    R(readahead(fd, 0, 4096));
    R(fsync(fd));
    R(fdatasync(fd));
    R(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE));
    R(syncfs(fd));
    R(close(fd));
    R(fsync(fd));
    R(fdatasync(fd));
    R(ftruncate(fd, 0));
    R(fallocate(fd, 0, 0, 1));
    R(fd = open(in("seek"), O_RDONLY));
    R(fallocate(fd, 0, 0, 100));
    R(fsync(fd));
    R(close(fd));
}

static void stats(void) {
    make(in("stat"), "hello world\n");
    R(link(in("stat"), in("stat2")));
    R(symlink("stat", in("stat-link")));
    STAT(in("stat"));
    LSTAT(in("stat-link"));
    STAT(in("stat-link"));
    STAT(in("none"));
    STAT(in("stat/x"));
    STAT(in("round"));
    STAT(in("dir"));
    STAT(in("dir/"));
    STAT(in("dir/."));
    STAT(in("stat/"));
    STAT("");
    LSTAT(in("round"));
    LSTAT(in("dangling"));
    LSTAT(in("stat-link/"));
    FSTAT(99);
    FSTAT(-1);
    int fd, dir;
    R(fd = open(in("stat"), O_RDONLY));
    R(dir = open(in("dir"), O_RDONLY));
    struct stat a, b;
    R(stat(in("stat"), &a));
    R(fstat(fd, &b));
    SAY("same file %d %d", a.st_ino == b.st_ino, a.st_dev == b.st_dev);
    R(stat(in("stat2"), &b));
    SAY("same file %d %d", a.st_ino == b.st_ino, a.st_dev == b.st_dev);
    R(stat(in("dir"), &b));
    SAY("another %d, same device %d", a.st_ino != b.st_ino, a.st_dev == b.st_dev);
    SAY("recent %d", a.st_mtime > time(NULL) - 1000 && a.st_mtime <= time(NULL) + 60);
    SAY("recent %d", a.st_atime > time(NULL) - 1000 && a.st_atime <= time(NULL) + 60);
    SAY("recent %d", a.st_ctime > time(NULL) - 1000 && a.st_ctime <= time(NULL) + 60);
    R(fstatat(fd, "", &a, AT_EMPTY_PATH));
    show(__LINE__, "empty", &a);
    R(fstatat(fd, "", &a, 0));
    R(fstatat(dir, "", &a, AT_EMPTY_PATH));
    show(__LINE__, "empty", &a);
    R(fstatat(dir, "../stat", &a, 0));
    show(__LINE__, "relative", &a);
    R(fstatat(dir, "../stat-link", &a, AT_SYMLINK_NOFOLLOW));
    show(__LINE__, "relative link", &a);
    R(fstatat(fd, "x", &a, 0));
    R(fstatat(dir, "inner", &a, 0x40000000));
    R(fstatat(99, "inner", &a, 0));
    struct statx x;
    memset(&x, 0, sizeof x);
    R(statx(AT_FDCWD, in("stat"), 0, STATX_BASIC_STATS, &x));
    SAY("statx mask %x mode %o links %u uid %u gid %u size %llu attributes %llx", x.stx_mask & STATX_BASIC_STATS, x.stx_mode, x.stx_nlink, x.stx_uid,
        x.stx_gid, (unsigned long long)x.stx_size, (unsigned long long)x.stx_attributes & ~STATX_ATTR_MOUNT_ROOT);
    R(statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, &x));
    SAY("size %llu", (unsigned long long)x.stx_size);
    R(statx(dir, "../stat-link", AT_SYMLINK_NOFOLLOW, STATX_ALL, &x));
    SAY("mode %o size %llu", x.stx_mode, (unsigned long long)x.stx_size);
    R(statx(dir, "none", 0, STATX_ALL, &x));
    R(statx(dir, "", 0, STATX_ALL, &x));
    R(statx(dir, "inner", 0x40000000, STATX_ALL, &x));
    R(statx(dir, "inner", AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC, STATX_ALL, &x));
    R(statx(dir, "inner", 0, 0x80000000, &x));
    struct statfs fs;
    R(statfs(in("stat"), &fs));
    SAY("name length %ld", (long)fs.f_namelen);
    R(fstatfs(fd, &fs));
    R(statfs(in("none"), &fs));
    R(close(fd));
    R(close(dir));
}

static void accesses(void) {
    int fd, dir;
    make(in("stat"), "hello world\n");
    R(fd = open(in("stat"), O_RDONLY));
    R(dir = open(in("dir"), O_RDONLY));
    R(access(in("stat"), F_OK));
    R(access(in("stat"), R_OK | W_OK));
    R(access(in("stat"), X_OK));
    R(access(in("dir"), X_OK));
    R(access(in("none"), F_OK));
    R(access(in("stat/x"), F_OK));
    R(access(in("stat"), 8));
    R(access(in("dangling"), F_OK));
    R(access(in("round"), F_OK));
    R(faccessat(dir, "inner", R_OK, 0));
    R(syscall(SYS_faccessat2, dir, "inner", W_OK, AT_EACCESS));
    R(syscall(SYS_faccessat2, dir, "none", W_OK, AT_EACCESS));
    R(syscall(SYS_faccessat2, dir, "../round", F_OK, AT_SYMLINK_NOFOLLOW));
    R(syscall(SYS_faccessat2, fd, "", R_OK, AT_EMPTY_PATH));
    R(syscall(SYS_faccessat2, fd, "", R_OK, 0));
    R(syscall(SYS_faccessat2, fd, "", R_OK, 0x40000000));
    R(close(fd));
    R(close(dir));
}

static void renames(void) {
    make(in("a"), "a");
    make(in("b"), "bb");
    R(rename(in("a"), in("b")));
    FILE_TEXT(in("b"));
    FILE_TEXT(in("a"));
    R(rename(in("a"), in("b")));
    R(rename(in("b"), in("b")));
    R(rename(in("b"), in("no/b")));
    R(rename(in("b"), in("dir")));
    R(rename(in("dir"), in("b")));
    R(rename(in("b"), in("c/")));
    R(rename(in("dir"), in("dir/below")));
    R(rename(in("dir"), in("dir2/")));
    FILE_TEXT(in("dir2/inner"));
    R(rename(in("dir2"), in("dir")));
    R(mkdir(in("full"), 0700));
    make(in("full/x"), "x");
    make(in("b"), "b");
    R(rename(in("dir"), in("full")));
    R(mkdir(in("empty"), 0700));
    R(rename(in("full"), in("empty")));
    LIST(in("empty"));
    R(rename(in("b"), in("empty/moved")));
    LIST(in("empty"));
    make(in("empty/moved"), "m");
    make(in("a"), "one");
    make(in("b"), "two");
    R(renameat2(AT_FDCWD, in("a"), AT_FDCWD, in("b"), RENAME_NOREPLACE));
    R(renameat2(AT_FDCWD, in("a"), AT_FDCWD, in("e"), RENAME_NOREPLACE));
    R(renameat2(AT_FDCWD, in("e"), AT_FDCWD, in("b"), RENAME_EXCHANGE));
    FILE_TEXT(in("e"));
    FILE_TEXT(in("b"));
    R(renameat2(AT_FDCWD, in("e"), AT_FDCWD, in("none"), RENAME_EXCHANGE));
    R(renameat2(AT_FDCWD, in("e"), AT_FDCWD, in("empty"), RENAME_EXCHANGE));
    FILE_TEXT(in("e/moved"));
    FILE_TEXT(in("empty"));
    R(renameat2(AT_FDCWD, in("e"), AT_FDCWD, in("b"), RENAME_EXCHANGE | RENAME_NOREPLACE));
    R(renameat2(AT_FDCWD, in("e"), AT_FDCWD, in("b"), 1 << 10));
    int dir;
    R(dir = open(in("e"), O_RDONLY));
    R(renameat(dir, "moved", dir, "again"));
    R(renameat(dir, "again", AT_FDCWD, in("b")));
    R(renameat(99, "again", AT_FDCWD, in("b")));
    LIST(in("e"));
    R(rename(in("."), in("x")));
    R(rename(in("e/.."), in("x")));
    R(rename(in(""), in("x")));
    // An open file keeps its offset and contents while it is renamed.
    int fd;
    R(fd = open(in("b"), O_RDWR | O_APPEND));
    R(rename(in("b"), in("b2")));
    R(write(fd, "+", 1));
    FILE_TEXT(in("b2"));
    R(close(fd));
    R(close(dir));
}

static void links(void) {
    int fd, dir;
    R(mkdir(in("e"), 0700));
    make(in("e/x"), "x");
    R(dir = open(in("e"), O_RDONLY));
    make(in("l"), "linked");
    R(link(in("l"), in("l2")));
    R(link(in("l"), in("l2")));
    R(link(in("none"), in("l3")));
    R(link(in("dir"), in("l3")));
    R(link(in("l"), in("no/l3")));
    R(symlink("l", in("ls")));
    R(link(in("ls"), in("ls2")));
    LSTAT(in("ls2"));
    R(linkat(AT_FDCWD, in("ls"), AT_FDCWD, in("l3"), AT_SYMLINK_FOLLOW));
    LSTAT(in("l3"));
    R(linkat(dir, "x", dir, "y", 0));
    R(linkat(dir, "x", dir, "z", 0x40000000));
    R(fd = open(in("l"), O_RDONLY));
    R(linkat(fd, "", dir, "by-fd", AT_EMPTY_PATH));
    FSTAT(fd);
    R(close(fd));
    R(symlink("anything at all", in("l")));
    R(symlink("", in("l4")));
    R(symlink("x", in("no/l4")));
    R(symlinkat("relative", dir, "symbolic"));
    char text[300] = {0};
    R(readlink(in("ls"), text, sizeof text));
    SAY("%s", text);
    R(readlinkat(dir, "symbolic", text, 3));
    SAY("%s", text);
    R(readlink(in("l"), text, sizeof text));
    R(readlink(in("none"), text, sizeof text));
    R(readlink(in("ls"), text, 0));
    R(readlink(in("dir"), text, 10));
    R(readlink(in("ls/"), text, 10));
    char target[5000];
    memset(target, 't', sizeof target);
    target[900] = 0;
    R(symlink(target, in("long")));
    LSTAT(in("long"));
    target[900] = 't';
    target[4096] = 0;
    R(symlink(target, in("longer")));
    R(close(dir));
}

static void unlinks(void) {
    int dir;
    make(in("l"), "l");
    R(link(in("l"), in("l2")));
    R(symlink("l", in("ls")));
    R(mkdir(in("e"), 0700));
    make(in("e/x"), "x");
    make(in("e/y"), "y");
    R(dir = open(in("e"), O_RDONLY));
    R(unlink(in("l2")));
    STAT(in("l"));
    R(unlink(in("l2")));
    R(unlink(in("dir")));
    R(unlink(in("ls")));
    R(unlink(in("l/x")));
    R(unlink(in("l/")));
    R(unlink(in("round")));
    R(unlink(in(".")));
    R(unlink(""));
    R(unlinkat(dir, "y", 0));
    R(unlinkat(dir, "y", 0));
    R(unlinkat(dir, "x", AT_REMOVEDIR));
    R(unlinkat(dir, "x", 77));
    R(unlinkat(AT_FDCWD, in("e"), AT_REMOVEDIR));
    R(close(dir));
}

static void make_directories(void) {
    int dir;
    make(in("l"), "l");
    R(mkdir(in("e"), 0700));
    R(dir = open(in("e"), O_RDONLY));
    R(mkdir(in("m"), 0777));
    STAT(in("m"));
    R(mkdir(in("m"), 0777));
    R(mkdir(in("m/n/"), 01777));
    STAT(in("m/n"));
    R(mkdir(in("l"), 0777));
    R(mkdir(in("l/x"), 0777));
    R(mkdir(in("no/x"), 0777));
    R(mkdir(in("m/."), 0777));
    R(mkdir(in("m/.."), 0777));
    R(mkdir(in("round"), 0777));
    R(mkdir(in("dangling2"), 06755));
    STAT(in("dangling2"));
    R(mkdirat(dir, "below", 0700));
    R(mkdirat(99, "below", 0700));
    R(rmdir(in("m")));
    R(rmdir(in("m/.")));
    R(rmdir(in("m/n/..")));
    R(rmdir(in("m/n")));
    R(rmdir(in("m")));
    R(rmdir(in("m")));
    R(rmdir(in("l")));
    R(rmdir(in("l/x")));
    R(unlinkat(dir, "below", AT_REMOVEDIR));
    R(mkdir(in("removed"), 0700));
    int gone;
    R(gone = open(in("removed"), O_RDONLY));
    R(rmdir(in("removed")));
    TRY(openat(gone, "x", O_CREAT | O_RDWR, 0600));
    R(mkdirat(gone, "x", 0700));
    R(faccessat(gone, ".", F_OK, 0));
    list_fd(__LINE__, gone, 1000);
    R(close(gone));
    R(close(dir));
}

static void attributes(void) {
    make(in("m"), "mode");
    int fd;
    R(fd = open(in("m"), O_RDWR));
    R(chmod(in("m"), 0600));
    STAT(in("m"));
    R(chmod(in("m"), 0100644));
    FSTAT(fd);
    R(fchmod(fd, 0751));
    STAT(in("m"));
    R(chmod(in("none"), 0600));
    R(chmod(in("m/x"), 0600));
    R(fchmod(99, 0600));
    R(fchmodat(AT_FDCWD, in("m"), 0600, 0));
    R(symlink("m", in("mlink")));
    R(chmod(in("mlink"), 0601));
    STAT(in("m"));
    R(chown(in("m"), 0, 0));
    FSTAT(fd);
    R(chown(in("m"), 1000, 1001));
    FSTAT(fd);
    R(chown(in("m"), 1002, -1));
    FSTAT(fd);
    R(chown(in("m"), -1, 1003));
    FSTAT(fd);
    R(fchown(fd, 65534, 65534));
    FSTAT(fd);
    R(fchown(fd, 70000, 123456789));
    FSTAT(fd);
    R(fchown(99, 0, 0));
    R(chown(in("none"), 0, 0));
    R(fchownat(AT_FDCWD, in("mlink"), 7, 8, 0)); // the file's
    STAT(in("m"));
    LSTAT(in("mlink"));
    R(fchownat(fd, "", 9, 10, AT_EMPTY_PATH));
    FSTAT(fd);
    R(write(fd, "x", 1));
    R(close(fd));
    R(chown(in("dir"), 11, 12));
    R(chmod(in("dir"), 0750));
    STAT(in("dir"));
}

// Whose mode shuts out even its owner, who is root here; and the owner of a link.
static void shut(void) {
    make(in("m"), "mode");
    int fd;
    R(fd = open(in("m"), O_RDWR));
    R(fchmod(fd, 0));
    FSTAT(fd);
    R(pwrite(fd, "M", 1, 0)); // what is open stays so
    TEXT(fd);
    TRY(open(in("m"), O_RDONLY));
    TRY(open(in("m"), O_WRONLY));
    R(access(in("m"), R_OK));
    R(access(in("m"), F_OK));
    R(chmod(in("m"), 0600));
    R(chown(in("m"), 1, 2));
    R(fchown(fd, 1, 2));
    R(fchmod(fd, 0644));
    FSTAT(fd);
    FILE_TEXT(in("m"));
    R(close(fd));
    R(chmod(in("dir"), 0));
    STAT(in("dir"));
    LIST(in("dir"));
    FILE_TEXT(in("dir/inner"));
    R(mkdir(in("dir/new"), 0700));
    R(rename(in("dir"), in("other")));
    SAY("chmod %s", chmod(in("other"), 0755) ? "fails" : "works");
    FILE_TEXT(in("other/inner"));
    R(lchown(in("link"), 5, 6));
    LSTAT(in("link"));
    R(fchownat(AT_FDCWD, in("link"), 7, 8, AT_SYMLINK_NOFOLLOW));
    LSTAT(in("link"));
}

// setuid, setgid and the group that files in a setgid directory get.
static void special_bits(void) {
    make(in("m"), "mode");
    int fd;
    R(fd = open(in("m"), O_RDWR));
    R(fchmod(fd, 04755));
    FSTAT(fd);
    R(fchmod(fd, 06755));
    R(chown(in("m"), 1002, -1)); // takes the bits away
    FSTAT(fd);
    R(fchmod(fd, 06755));
    R(write(fd, "x", 1)); // root's write leaves them
    FSTAT(fd);
    R(close(fd));
    R(umask(0));
    R(fd = open(in("u4"), O_CREAT | O_RDWR, 07777));
    FSTAT(fd);
    R(close(fd));
    R(umask(022));
    R(mkdir(in("group"), 0755));
    R(chown(in("group"), 0, 77));
    R(chmod(in("group"), 02775));
    STAT(in("group"));
    make(in("group/file"), "x");
    STAT(in("group/file"));
    R(mkdir(in("group/dir"), 0755));
    STAT(in("group/dir"));
}

static void umasks(void) {
    int fd;
    R(umask(077));
    R(fd = open(in("u1"), O_CREAT | O_RDWR, 0666));
    FSTAT(fd);
    R(close(fd));
    R(mkdir(in("u2"), 0777));
    STAT(in("u2"));
    R(umask(0));
    R(fd = open(in("u4"), O_CREAT | O_RDWR, 0777));
    FSTAT(fd);
    R(close(fd));
    R(mkdir(in("u5"), 01777));
    STAT(in("u5"));
    R(umask(022));
    R(fd = open(in("u6"), O_CREAT | O_RDWR, 0777));
    FSTAT(fd);
    R(close(fd));
}

static void times(void) {
    int fd;
    make(in("u1"), "times");
    make(in("m"), "m");
    R(symlink("m", in("mlink")));
    struct stat st;
#define TIMES(path)                                                                                                                        \
    (stat(path, &st), SAY("%ld.%09ld %ld.%09ld", (long)st.st_atim.tv_sec, st.st_atim.tv_nsec, (long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec))
    struct timespec t[2] = {{1000000000, 123456789}, {1100000000, 987654321}};
    R(utimensat(AT_FDCWD, in("u1"), t, 0));
    TIMES(in("u1"));
    t[0].tv_nsec = UTIME_OMIT;
    t[1].tv_sec = 5;
    R(utimensat(AT_FDCWD, in("u1"), t, 0));
    TIMES(in("u1"));
    t[1].tv_nsec = UTIME_NOW;
    R(utimensat(AT_FDCWD, in("u1"), t, 0));
    stat(in("u1"), &st);
    SAY("now %d", st.st_mtime > time(NULL) - 100);
    t[1].tv_nsec = 1000000000;
    R(utimensat(AT_FDCWD, in("u1"), t, 0));
    R(utimensat(AT_FDCWD, in("u1"), NULL, 0));
    stat(in("u1"), &st);
    SAY("now %d", st.st_atime > time(NULL) - 100);
    R(utimensat(AT_FDCWD, in("none"), NULL, 0));
    t[0] = (struct timespec){77, 7};
    t[1] = (struct timespec){88, 8};
    R(utimensat(AT_FDCWD, in("mlink"), t, AT_SYMLINK_NOFOLLOW));
    lstat(in("mlink"), &st);
    SAY("%ld %ld", (long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    R(fd = open(in("u1"), O_RDONLY));
    R(futimens(fd, t));
    TIMES(in("u1"));
    R(close(fd));
    struct timeval u[2] = {{10, 500000}, {20, 250000}};
    R(utimes(in("u1"), u));
    TIMES(in("u1"));
    R(syscall(SYS_utimes, in("u1"), u));
    u[0].tv_usec = 2000000;
    R(syscall(SYS_utimes, in("u1"), u));
    long old[2] = {30, 40};
    R(syscall(SYS_utime, in("u1"), old));
    TIMES(in("u1"));
    R(syscall(SYS_utime, in("none"), old));
    // Writing changes the time of modification, reading does not.
    R(fd = open(in("u1"), O_RDWR));
    R(read(fd, big, 10));
    fstat(fd, &st);
    SAY("unchanged %d", st.st_mtime == 40);
    R(write(fd, "x", 1));
    fstat(fd, &st);
    SAY("changed %d", st.st_mtime > 1000);
    R(close(fd));
}

static void directories(void) {
    R(mkdir(in("many"), 0755));
    R(mkdir(in("many/sub"), 0755));
    R(symlink("x", in("many/link")));
    LIST(in("many"));
    char name[300];
    for (int i = 0; i < 600; ++i) {
        snprintf(name, sizeof name, "many/%d-a-rather-long-name-so-that-it-does-not-fit", i);
        close(open(in(name), O_CREAT | O_WRONLY, 0600));
    }
    LIST(in("many"));
    list(__LINE__, in("many"), 1000);
    list(__LINE__, in("many"), 1 << 20);
    int fd;
    R(fd = open(in("many"), O_RDONLY | O_DIRECTORY));
    list_fd(__LINE__, fd, 4096);
    list_fd(__LINE__, fd, 4096); // at the end
    R(lseek(fd, 0, SEEK_SET));
    list_fd(__LINE__, fd, 4096);
    R(lseek(fd, 0, SEEK_SET));
    OK(syscall(SYS_getdents64, fd, other, 4096));
    int64_t at = ((struct entry *)other)->off;
    R(lseek(fd, at, SEEK_SET) == at);
    OK(syscall(SYS_getdents64, fd, other + 4096, 4096));
    struct entry *first = (struct entry *)other, *second = (struct entry *)(other + first->reclen);
    SAY("goes on there %d", !strcmp(second->name, ((struct entry *)(other + 4096))->name));
    R(close(fd));
    R(fd = open(in("open"), O_RDONLY));
    R(syscall(SYS_getdents64, fd, other, 4096));
    R(close(fd));
    R(syscall(SYS_getdents64, fd, other, 4096));
    DIR *d = opendir(in("many"));
    int count = 0;
    while (d && readdir(d)) ++count;
    SAY("readdir %d", count);
    if (d) {
        rewinddir(d);
        while (readdir(d) && count > 300) --count;
        long where = telldir(d);
        struct dirent *e = readdir(d);
        char saved[256];
        strcpy(saved, e ? e->d_name : "");
        seekdir(d, where);
        e = readdir(d);
        SAY("seekdir %d", e && !strcmp(saved, e->d_name));
        R(closedir(d));
    }
    // What is removed while it is listed.
    d = opendir(in("many"));
    int removed = 0;
    for (struct dirent *e; d && (e = readdir(d));)
        if (e->d_name[0] != '.' && e->d_name[0] < 'a') removed += !unlinkat(dirfd(d), e->d_name, 0);
    SAY("removed %d", removed);
    if (d) closedir(d);
    LIST(in("many"));
}

static void working_directory(void) {
    int fd;
    char name[300];
    R(mkdir(in("many"), 0755));
    R(mkdir(in("many/sub"), 0755));
    R(chdir(top));
    CWD();
    R(chdir("many/sub"));
    CWD();
    make("relative", "relative");
    LIST(".");
    LIST("..");
    FILE_TEXT("relative");
    FILE_TEXT("./relative");
    FILE_TEXT("../sub/relative");
    FILE_TEXT("../../many/sub/relative");
    FILE_TEXT(in("many/sub/relative"));
    R(mkdir("d", 0700));
    R(rename("relative", "d/r"));
    R(symlink("d/r", "s"));
    FILE_TEXT("s");
    R(link("s", "t"));
    R(chmod("d/r", 0600));
    STAT("d/r");
    R(truncate("d/r", 3));
    FILE_TEXT("s");
    R(access("d/r", R_OK));
    R(unlink("s"));
    R(chdir("d"));
    CWD();
    R(chdir("none"));
    R(chdir("r"));
    R(chdir(""));
    R(chdir(NULL));
    R(chdir(".."));
    CWD();
    R(chdir("../.."));
    CWD();
    R(fd = open("many", O_RDONLY));
    R(fchdir(fd));
    CWD();
    R(close(fd));
    CWD();
    R(fd = open("sub/d/r", O_RDONLY));
    R(fchdir(fd));
    R(close(fd));
    R(fchdir(fd));
    R(fd = open("sub", O_PATH));
    R(fchdir(fd));
    R(close(fd));
    CWD();
    char small[5];
    R(syscall(SYS_getcwd, small, sizeof small));
    R(syscall(SYS_getcwd, NULL, 100));
    R(rename("d", "dd"));
    R(chdir("dd"));
    R(rename("../dd", "../renamed"));
    CWD();
    FILE_TEXT("r");
    // A child has its own.
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        R(chdir(".."));
        CWD();
        _exit(0);
    }
    waitpid(child, NULL, 0);
    CWD();
    R(mkdir("away", 0700));
    R(chdir("away"));
    R(rmdir("../away"));
    CWD();
    TRY(open("x", O_CREAT | O_RDWR, 0600));
    R(open(".", O_RDONLY | O_DIRECTORY) >= 0);
    R(access("..", F_OK));
    R(chdir(".."));
    R(chdir("/"));
    CWD();
    // From outside by a relative path, and out of it again by an absolute one.
    R(chdir("/srv"));
    CWD();
    const char *relative = top + strlen("/srv/");
    FILE_TEXT(strcat(strcpy(name, relative), "/open"));
    R(chdir(relative));
    CWD();
    R(chdir(".."));
    R(chdir("./"));
    FILE_TEXT(strcat(strcpy(name, strrchr(top, '/') + 1), "/open"));
    R(chdir("/tmp"));
    CWD();
    R(chdir("/"));
}

static void descriptors(void) {
    make(in("d"), "0123456789");
    int a, b, c;
    R(a = open(in("d"), O_RDWR));
    int base = a;
#define N(call) R((call) - base)
    N(b = open("/dev/null", O_RDONLY));
    N(c = open(in("d"), O_RDWR));
    R(close(b));
    N(b = open(in("open"), O_RDONLY));
    R(close(a));
    R(close(a));
    N(a = open("/dev/zero", O_RDONLY));
    char buffer[100];
    R(read(a, buffer, 10));
    R(close(a));
    N(a = open(in("d"), O_RDWR));
    int p[2];
    R(pipe(p));
    N(p[0]);
    N(p[1]);
    R(close(p[0]));
    int d;
    N(d = dup(a));
    R(read(d, buffer, 4));
    R(lseek(a, 0, SEEK_CUR)); // one offset for both
    R(lseek(c, 0, SEEK_CUR)); // another
    R(close(d));
    R(read(a, buffer, 2));
    N(d = dup2(a, base + 20));
    R(lseek(d, 0, SEEK_CUR));
    R(dup2(a, a) == a);
    R(dup2(99, base + 20));
    R(lseek(base + 20, 0, SEEK_CUR)); // still there
    N(dup2(p[1], base + 20)); // a pipe over a hidden file
    R(lseek(base + 20, 0, SEEK_CUR));
    N(dup2(c, base + 20)); // and a hidden file over a pipe
    R(lseek(base + 20, 1, SEEK_SET));
    R(lseek(c, 0, SEEK_CUR));
    N(dup3(a, base + 21, O_CLOEXEC));
    FLAGS(base + 21);
    FLAGS(a);
    R(dup3(a, a, 0));
    R(dup3(a, base + 22, O_APPEND));
    R(dup3(99, base + 22, 0));
    R(dup2(a, -1));
    R(dup2(a, 1 << 20));
    R(dup(99));
    N(fcntl(a, F_DUPFD, base + 10));
    N(fcntl(a, F_DUPFD, base + 10));
    N(fcntl(a, F_DUPFD_CLOEXEC, base + 10));
    FLAGS(base + 12);
    R(fcntl(a, F_DUPFD, -1));
    R(fcntl(a, F_DUPFD, 1 << 20));
    R(fcntl(a, F_SETFD, FD_CLOEXEC));
    FLAGS(a);
    FLAGS(base + 10);
    R(fcntl(a, F_SETFD, 0));
    FLAGS(a);
    R(ioctl(a, FIOCLEX));
    FLAGS(a);
    R(ioctl(a, FIONCLEX));
    FLAGS(a);
    R(fcntl(a, F_SETFL, O_APPEND | O_NONBLOCK));
    FLAGS(a);
    FLAGS(base + 10); // shared
    FLAGS(c);
    R(write(a, "end", 3));
    R(fcntl(a, F_SETFL, 0));
    FLAGS(a);
    R(lseek(a, 0, SEEK_SET));
    R(write(a, "start", 5));
    TEXT(a);
    R(fcntl(99, F_GETFL));
    R(fcntl(99, F_SETFD, 0));
    R(fcntl(a, 7777));
    int zero = 0, one = 1;
    R(ioctl(a, FIONBIO, &one));
    FLAGS(a);
    R(ioctl(a, FIONBIO, &zero));
    R(lseek(a, 2, SEEK_SET));
    int left = -1;
    R(ioctl(a, FIONREAD, &left));
    SAY("left %d", left);
    R(ioctl(a, FIONREAD, NULL));
    R(ioctl(a, TIOCGWINSZ, buffer));
    R(ioctl(a, TCGETS, buffer));
    R(ioctl(a, 0x12345678, buffer));
    R(ioctl(99, FIOCLEX));
    R(isatty(a));
    R(close(base + 10));
    R(close(base + 11));
    N(dup(a));
    R(fcntl(base + 12, F_GETFD));
    R(close(base + 12));
    R(close(base + 20));
    R(close(base + 21));
    R(close(99));
    R(close(-1));
    R(close(p[1]));
    R(close(a));
    R(close(b));
    R(close(c));
}

static void close_ranges(void) {
    make(in("d"), "0123456789");
    int a, p[2];
    char buffer[100];
    R(pipe(p));
    R(close(p[0]));
    R(a = open(in("d"), O_RDWR));
    int base = 3;
    for (int i = 30; i < 40; ++i) dup2(i % 2 ? a : p[1], base + i);
    R(close_range(base + 32, base + 34, 0));
    for (int i = 30; i < 40; ++i) SAY("%d %d", i, fcntl(base + i, F_GETFD));
    R(close_range(base + 35, base + 36, CLOSE_RANGE_CLOEXEC));
    for (int i = 30; i < 40; ++i) SAY("%d %d", i, fcntl(base + i, F_GETFD));
    R(read(base + 35, buffer, 1));
    R(close_range(base + 38, base + 37, 0));
    R(close_range(base + 37, base + 38, 77));
    R(close_range(base + 30, base + 37, CLOSE_RANGE_UNSHARE));
    for (int i = 30; i < 40; ++i) SAY("%d %d", i, fcntl(base + i, F_GETFD));
    R(lseek(a, 0, SEEK_CUR));
    R(close_range(base + 30, ~0u, 0));
    R(close(p[1]));
    R(close(a));
    R(open(in("d"), O_RDONLY) >= 0);
    R(close_range(base, ~0u, 0));
}

static void limits(void) {
    make(in("d"), "0123456789");
    int a, base = 3;
    char buffer[100];
    struct rlimit old, limit = {base + 4, 4096};
    R(getrlimit(RLIMIT_NOFILE, &old));
    R(setrlimit(RLIMIT_NOFILE, &limit));
    N(open(in("d"), O_RDONLY));
    N(open(in("d"), O_RDONLY));
    N(open("/dev/null", O_RDONLY));
    N(open(in("d"), O_RDONLY));
    TRY(open(in("d"), O_RDONLY));
    TRY(open(in("not-made"), O_RDWR | O_CREAT, 0600));
    TRY(open("/dev/null", O_RDONLY));
    R(dup(base));
    R(dup2(base, base + 4));
    R(dup2(base, base + 3) - base);
    R(fcntl(base, F_DUPFD, base + 4));
    R(fcntl(base, F_DUPFD, base + 1));
    R(setrlimit(RLIMIT_NOFILE, &old));
    R(access(in("not-made"), F_OK));
    R(close_range(base, ~0u, 0));
    for (int i = 0; i < 500; ++i)
        if (open(in("d"), O_RDONLY) != base + i) {
            SAY("wrong %d", i);
            break;
        }
    R(pread(base + 499, buffer, 5, 0));
    R(dup2(base + 3, base + 900) - base);
    R(pread(base + 900, buffer, 5, 0));
    R(close_range(base, ~0u, 0));
    signal(SIGXFSZ, SIG_IGN);
    R(getrlimit(RLIMIT_FSIZE, &old));
    limit = (struct rlimit){10000, RLIM_INFINITY};
    R(setrlimit(RLIMIT_FSIZE, &limit));
    R(a = open(in("limited"), O_CREAT | O_RDWR | O_TRUNC, 0600));
    R(write(a, big, 9000));
    R(write(a, big, 9000));
    R(write(a, big, 9000));
    R(ftruncate(a, 20000));
    R(setrlimit(RLIMIT_FSIZE, &old));
    R(ftruncate(a, 20000));
    R(close(a));
}

static volatile int signals;
static void count(int) { ++signals; }

static void between(void) {
    fill(big, 200000, 9);
    int a, b, n;
    R(a = open(in("from"), O_CREAT | O_RDWR | O_TRUNC, 0600));
    R(write(a, big, 200000));
    R(b = open(in("to"), O_CREAT | O_RDWR | O_TRUNC, 0600));
    R(lseek(a, 100, SEEK_SET));
    R(sendfile(b, a, NULL, 1000));
    R(lseek(a, 0, SEEK_CUR));
    off_t at = 5000;
    R(sendfile(b, a, &at, 150000));
    SAY("at %ld", (long)at);
    R(lseek(b, 0, SEEK_CUR));
    int normal;
    R(normal = open("/root/ordinary", O_CREAT | O_RDWR | O_TRUNC, 0600));
    at = 7;
    R(sendfile(normal, a, &at, 100000));
    R(lseek(normal, 0, SEEK_SET));
    R(sendfile(b, normal, NULL, 100000));
    R(lseek(b, 0, SEEK_CUR));
    R(pread(b, other, 300000, 0));
    SAY("hash %x", hash(other, 300000));
    loff_t x = 3, y = 5;
    R(copy_file_range(a, &x, b, &y, 50000, 0));
    SAY("%ld %ld", (long)x, (long)y);
    R(pread(b, other, 300000, 0));
    SAY("hash %x", hash(other, 300000));
    int p[2];
    R(pipe2(p, O_NONBLOCK));
    x = 1;
    R(splice(a, &x, p[1], NULL, 10000, 0));
    SAY("%ld", (long)x);
    R(n = read(p[0], other, 20000));
    SAY("hash %x", hash(other, n > 0 ? n : 0));
    R(write(p[1], big, 5000));
    y = 100000;
    R(splice(p[0], NULL, b, &y, 5000, 0));
    R(pread(b, other, 300000, 0));
    SAY("hash %x", hash(other, 300000));
    R(sendfile(p[1], a, NULL, 4000));
    R(read(p[0], other, 20000));
    close(p[0]);
    close(p[1]);
    R(close(normal));
    R(unlink("/root/ordinary"));
    R(close(a));
    R(close(b));
}

// Between the test's directory and what is hidden from nobody, both ways.
static void sendfiles(void) {
    fill(big, 300000, 9);
    int a, b, out, p[2], s[2];
    long n;
    make("/root/ordinary", "");
    R(a = open(in("from"), O_CREAT | O_RDWR | O_TRUNC, 0600));
    R(write(a, big, 300000));
    R(b = open(in("to"), O_CREAT | O_RDWR | O_TRUNC, 0600));
    R(out = open("/root/ordinary", O_RDWR | O_TRUNC));
    SAY("at the file's own position");
    R(lseek(a, 100, SEEK_SET));
    R(sendfile(out, a, NULL, 100000));
    R(lseek(a, 0, SEEK_CUR));
    R(lseek(out, 0, SEEK_CUR));
    R(pread(out, other, 300000, 0));
    SAY("hash %x", hash(other, 100000));
    R(sendfile(b, a, NULL, 1 << 30));
    R(sendfile(b, a, NULL, 10));
    R(lseek(a, 0, SEEK_CUR));
    R(lseek(b, 0, SEEK_CUR));
    R(lseek(out, 7, SEEK_SET));
    R(sendfile(b, out, NULL, 1 << 20));
    R(lseek(out, 0, SEEK_CUR));
    R(n = pread(b, other, 400000, 0));
    SAY("hash %x", hash(other, n > 0 ? n : 0));
    SAY("at one of its own");
    off_t at = 32769;
    R(sendfile(out, a, &at, 70000));
    SAY("at %ld %ld %ld", (long)at, (long)lseek(a, 0, SEEK_CUR), (long)lseek(out, 0, SEEK_CUR));
    at = 5;
    R(sendfile(b, out, &at, 70000));
    SAY("at %ld %ld %ld", (long)at, (long)lseek(out, 0, SEEK_CUR), (long)lseek(b, 0, SEEK_CUR));
    at = 299999;
    R(sendfile(out, a, &at, 70000));
    R(sendfile(out, a, &at, 70000));
    at = 400000;
    R(sendfile(out, a, &at, 1));
    SAY("at %ld", (long)at);
    R(sendfile(out, a, &at, 0));
    at = -1;
    R(sendfile(out, a, &at, 1));
    R(sendfile(b, out, &at, 1));
    R(sendfile(out, a, (off_t *)8, 1));
    R(n = pread(out, other, 400000, 0));
    SAY("hash %x", hash(other, n > 0 ? n : 0));
    SAY("a pipe");
    R(pipe2(p, O_NONBLOCK));
    at = 0;
    R(sendfile(p[1], a, &at, 5000));
    R(n = read(p[0], other, 20000));
    SAY("at %ld hash %x", (long)at, hash(other, n > 0 ? n : 0));
    OK(sendfile(p[1], a, &at, 300000)); // as much as there is room for
    R(sendfile(p[1], a, &at, 1));
    for (n = 0; (n = read(p[0], other, sizeof other)) > 0 && at > 5000;) at -= n;
    SAY("at %ld", (long)at);
    R(sendfile(b, p[0], NULL, 10));
    at = 0;
    R(sendfile(b, p[0], &at, 10));
    R(fcntl(p[1], F_SETFL, 0));
    fflush(stdout);
    pid_t child = fork();
    if (!child) { // a reader that takes its time
        close(p[1]);
        uint32_t sum = 0;
        while (usleep(1000), (n = read(p[0], other, 8000)) != 0)
            for (long i = 0; i < n; ++i) sum = sum * 31 + other[i];
        SAY("sum %x", sum);
        _exit(0);
    }
    R(lseek(a, 1, SEEK_SET));
    close(p[0]);
    while ((n = sendfile(p[1], a, NULL, 300000)) > 0)
        ;
    SAY("%ld at %ld", n, (long)lseek(a, 0, SEEK_CUR));
    close(p[1]);
    waitpid(child, NULL, 0);
    signals = 0;
    signal(SIGPIPE, count);
    R(pipe(p));
    close(p[0]);
    at = 3;
    R(sendfile(p[1], a, &at, 10));
    SAY("at %ld signals %d", (long)at, signals);
    close(p[1]);
    SAY("a socket");
    R(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    at = 0;
    R(sendfile(s[0], a, &at, 100000));
    for (n = 0; n < 100000;) {
        long got = read(s[1], other + n, 100000 - n);
        if (got <= 0) break;
        n += got;
    }
    SAY("%ld hash %x", n, hash(other, 100000));
    close(s[0]);
    R(sendfile(b, s[1], NULL, 10));
    close(s[1]);
    SAY("a signal");
    R(pipe2(p, O_NONBLOCK));
    while (write(p[1], big, 4096) > 0)
        ;
    R(fcntl(p[1], F_SETFL, 0));
    struct sigaction action = {.sa_handler = count};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval soon = {.it_value = {0, 300000}};
    signals = 0;
    setitimer(ITIMER_REAL, &soon, NULL);
    at = 10;
    R(sendfile(p[1], a, &at, 100));
    SAY("at %ld signals %d", (long)at, signals);
    close(p[0]);
    close(p[1]);
    SAY("what cannot be");
    R(sendfile(999, a, NULL, 10));
    R(sendfile(b, 999, NULL, 10));
    int wrong;
    R(wrong = open(in("to"), O_RDONLY));
    R(sendfile(wrong, out, NULL, 10));
    R(sendfile(wrong, a, NULL, 10));
    R(close(wrong));
    R(wrong = open(in("to"), O_WRONLY));
    R(sendfile(out, wrong, NULL, 10));
    R(close(wrong));
    R(wrong = open("/root/ordinary", O_RDONLY));
    R(sendfile(wrong, a, NULL, 10));
    R(close(wrong));
    R(wrong = open("/root/ordinary", O_WRONLY | O_APPEND));
    R(sendfile(b, wrong, NULL, 10));
    R(sendfile(wrong, a, NULL, 10));
    R(close(wrong));
    R(wrong = open(in("to"), O_WRONLY | O_APPEND));
    R(sendfile(wrong, out, NULL, 10));
    R(close(wrong));
    R(wrong = open(in("dir"), O_RDONLY));
    R(sendfile(out, wrong, NULL, 10));
    R(sendfile(wrong, out, NULL, 10));
    R(close(wrong));
    R(wrong = open(in("from"), O_PATH));
    R(sendfile(out, wrong, NULL, 10));
    R(sendfile(wrong, out, NULL, 10));
    R(close(wrong));
    R(sendfile(b, a, NULL, -1));
    FSTAT(a);
    FSTAT(b);
    FSTAT(out);
    R(close(out));
    R(unlink("/root/ordinary"));
    R(close(a));
    R(close(b));
}

static void locks(void) {
    int a;
    R(a = open(in("from"), O_CREAT | O_RDWR | O_TRUNC, 0600));
    R(flock(a, LOCK_EX));
    int again;
    R(again = open(in("from"), O_RDWR));
    R(flock(again, LOCK_EX | LOCK_NB));
    R(flock(a, LOCK_UN));
    R(flock(again, LOCK_SH | LOCK_NB));
    R(flock(a, LOCK_SH | LOCK_NB));
    R(close(again));
    R(flock(a, 77));
    R(flock(99, LOCK_EX));
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 10};
    R(fcntl(a, F_SETLK, &l));
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        R(fcntl(a, F_SETLK, &l));
        l.l_start = 0;
        l.l_len = 0;
        R(fcntl(a, F_GETLK, &l));
        SAY("type %d start %ld length %ld, the parent's %d", l.l_type, (long)l.l_start, (long)l.l_len, l.l_pid == getppid());
        l = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 30, .l_len = 10};
        R(fcntl(a, F_SETLK, &l));
        _exit(0);
    }
    waitpid(child, NULL, 0);
    l = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
    R(fcntl(a, F_SETLK, &l)); // the child's is over
    l.l_type = F_UNLCK;
    R(fcntl(a, F_SETLKW, &l));
    l.l_type = 77;
    R(fcntl(a, F_SETLK, &l));
    l.l_type = F_RDLCK;
    R(fcntl(a, F_OFD_SETLK, &l));
    R(fcntl(a, F_SETLK, NULL));
    l.l_pid = 1;
    l.l_type = F_RDLCK;
    R(fcntl(a, F_OFD_SETLK, &l));
    l = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = -1};
    R(fcntl(a, F_SETLK, &l));
    l.l_whence = 5;
    R(fcntl(a, F_SETLK, &l));
    R(close(a));
}

// A child that does something while the parent waits for it, and ends when the parent lets it. Steps are bytes in pipes.
static int to_child[2], to_parent[2];
static pid_t another(void) {
    fflush(stdout);
    if (pipe(to_child) || pipe(to_parent)) SAY("no pipes");
    return fork();
}
static void step(int *pipe) {
    if (write(pipe[1], "x", 1) != 1) SAY("no step");
}
static void wait_for(int *pipe) {
    char c;
    if (read(pipe[0], &c, 1) != 1) SAY("no step came");
}
static void over(pid_t child) {
    int status;
    step(to_child);
    waitpid(child, &status, 0);
    SAY("child %d", status);
    for (int i = 0; i < 2; ++i) {
        close(to_child[i]);
        close(to_parent[i]);
    }
}
static int lock_range(int fd, int command, int type, long start, long size) {
    struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = size};
    int result = fcntl(fd, command, &l);
    if (result == 0 && (command == F_GETLK || command == F_OFD_GETLK))
        SAY("type %d whence %d start %ld length %ld pid %s", l.l_type, l.l_whence, (long)l.l_start, (long)l.l_len,
            l.l_pid == -1 ? "-1" : l.l_pid == getppid() ? "the parent's" : "another");
    return result;
}

static void record_locks(void) {
    int a, b, c;
    pid_t child;
    struct sigaction action = {.sa_handler = count};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval soon = {.it_value = {0, 300000}};
    R(a = open(in("from"), O_CREAT | O_RDWR | O_TRUNC, 0600));
    R(write(a, "0123456789", 10));
    R(link(in("from"), in("same"))); // another name of the same file
    SAY("split and shared");
    R(lock_range(a, F_SETLK, F_WRLCK, 0, 100));
    R(lock_range(a, F_SETLK, F_UNLCK, 40, 20));
    R(lock_range(a, F_SETLK, F_RDLCK, 90, 10));
    child = another();
    if (!child) {
        R(b = open(in("same"), O_RDWR));
        R(lock_range(b, F_GETLK, F_WRLCK, 0, 0));
        R(lock_range(b, F_GETLK, F_WRLCK, 50, 0));
        R(lock_range(b, F_GETLK, F_RDLCK, 90, 5));
        R(lock_range(b, F_SETLK, F_WRLCK, 40, 20));
        R(lock_range(b, F_SETLK, F_WRLCK, 39, 1));
        R(lock_range(b, F_SETLK, F_RDLCK, 90, 10));
        R(lock_range(b, F_SETLK, F_WRLCK, 90, 10));
        R(lock_range(b, F_OFD_GETLK, F_WRLCK, 45, 1)); // its own, but not the file's
        R(lseek(b, 5, SEEK_SET));
        struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_CUR, .l_start = 34, .l_len = -3};
        R(fcntl(b, F_GETLK, &l));
        SAY("%d %ld %ld", l.l_type, (long)l.l_start, (long)l.l_len);
        l = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_END, .l_start = 100};
        R(fcntl(b, F_SETLK, &l));
        _exit(0);
    }
    over(child);
    R(lock_range(a, F_SETLK, F_WRLCK, 0, 0));
    SAY("released by any close");
    R(b = open(in("same"), O_RDONLY));
    R(lock_range(b, F_SETLK, F_WRLCK, 0, 0));
    R(close(b));
    child = another();
    if (!child) {
        R(lock_range(a, F_SETLK, F_WRLCK, 0, 0));
        step(to_parent);
        wait_for(to_child);
        _exit(0);
    }
    wait_for(to_parent);
    R(lock_range(a, F_SETLK, F_RDLCK, 7, 1));
    SAY("a signal ends the wait");
    signals = 0;
    setitimer(ITIMER_REAL, &soon, NULL);
    R(lock_range(a, F_SETLKW, F_RDLCK, 7, 1));
    SAY("signals %d", signals);
    SAY("the end of the other too");
    step(to_child);
    R(lock_range(a, F_SETLKW, F_RDLCK, 7, 1));
    over(child);
    R(lock_range(a, F_SETLK, F_WRLCK, 0, 1));
    SAY("deadlock");
    child = another();
    if (!child) {
        R(lock_range(a, F_SETLK, F_WRLCK, 1, 1));
        step(to_parent);
        _exit(lock_range(a, F_SETLKW, F_WRLCK, 0, 1) ? 1 : 0);
    }
    wait_for(to_parent);
    usleep(500000); // it waits now
    R(lock_range(a, F_SETLKW, F_WRLCK, 1, 1));
    R(lock_range(a, F_SETLK, F_UNLCK, 0, 0));
    over(child);
    SAY("of open files");
    R(b = open(in("from"), O_RDWR));
    R(c = dup(a));
    R(lock_range(a, F_OFD_SETLK, F_WRLCK, 0, 0));
    R(lock_range(c, F_OFD_SETLK, F_WRLCK, 5, 1));
    R(lock_range(b, F_OFD_SETLK, F_RDLCK, 5, 1));
    R(lock_range(b, F_OFD_GETLK, F_RDLCK, 5, 1));
    R(lock_range(b, F_GETLK, F_RDLCK, 5, 1));
    R(lock_range(a, F_SETLK, F_RDLCK, 5, 1)); // even of its own process
    signals = 0;
    setitimer(ITIMER_REAL, &soon, NULL);
    R(lock_range(b, F_OFD_SETLKW, F_RDLCK, 5, 1));
    SAY("signals %d", signals);
    R(close(c));
    R(lock_range(b, F_OFD_SETLK, F_RDLCK, 5, 1));
    R(close(a));
    R(lock_range(b, F_OFD_SETLK, F_RDLCK, 5, 1));
    R(close(b));
    SAY("over an exec");
    R(a = open(in("from"), O_RDWR));
    child = another();
    if (!child) {
        R(lock_range(a, F_SETLK, F_WRLCK, 0, 0));
        dup2(to_parent[1], 100);
        dup2(to_child[0], 101);
        execl("/proc/self/exe", "files", top, "hold", NULL);
        _exit(1);
    }
    wait_for(to_parent);
    R(lock_range(a, F_SETLK, F_RDLCK, 7, 1));
    over(child);
    R(lock_range(a, F_SETLK, F_RDLCK, 7, 1));
    SAY("a counter under a lock");
    R(pwrite(a, "\0\0\0\0", 4, 0));
    for (int i = 0; i < 3; ++i)
        if (!fork()) {
            int fd = open(in("same"), O_RDWR), value;
            for (int k = 0; k < 100; ++k) {
                if (lock_range(fd, F_SETLKW, F_WRLCK, 0, 4) || pread(fd, &value, 4, 0) != 4) SAY("no lock");
                ++value;
                if (pwrite(fd, &value, 4, 0) != 4 || lock_range(fd, F_SETLK, F_UNLCK, 0, 4)) SAY("no write");
            }
            _exit(0);
        }
    R(lock_range(a, F_SETLK, F_UNLCK, 0, 0));
    for (int i = 0; i < 3; ++i) wait(NULL);
    int value;
    R(pread(a, &value, 4, 0));
    SAY("counted %d", value);
    R(close(a));
}

static void users(void) {
    int a, b;
    make(in("private"), "root's");
    R(chmod(in("private"), 0600));
    make(in("public"), "everyone's");
    make(in("removed"), "everyone's");
    make(in("moved"), "everyone's");
    R(mkdir(in("locked"), 0700));
    make(in("locked/x"), "x");
    R(mkdir(in("open-to-all"), 0777));
    R(chmod(in("open-to-all"), 01777));
    R(chmod(top, 0755));
    R(a = open(in("private"), O_RDWR));
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        if (setresgid(1000, 1000, 1000) || setresuid(1000, 1000, 1000)) SAY("not another user");
        TRY(open(in("private"), O_RDONLY));
        R(read(a, other, 3)); // what is open stays so
        R(fchmod(a, 0666));
        R(fchown(a, 1000, 1000));
        TRY(open(in("public"), O_RDWR));
        R(b = open(in("public"), O_RDONLY));
        TRY(open(in("public"), O_RDONLY | O_TRUNC));
        TRY(open(in("locked/x"), O_RDONLY));
        TRY(open(in("not-there"), O_CREAT | O_RDWR, 0600));
        R(access(in("private"), R_OK));
        R(access(in("public"), R_OK));
        R(access(in("public"), W_OK));
        R(unlink(in("removed")));
        R(rename(in("moved"), in("open-to-all/moved")));
        R(mkdir(in("dir1000"), 0700));
        R(chmod(in("public"), 0666));
        R(chown(in("public"), 1000, 1000));
        R(chdir(in("locked")));
        LIST(in("locked"));
        STAT(in("locked/x"));
        STAT(in("private"));
        R(b = open(in("open-to-all/mine"), O_CREAT | O_RDWR, 0666));
        FSTAT(b);
        R(fchmod(b, 0640));
        R(fchown(b, 0, 0));
        R(chown(in("open-to-all/mine"), -1, 1000));
        R(mkdir(in("open-to-all/dir"), 0777));
        STAT(in("open-to-all/dir"));
        R(utimensat(AT_FDCWD, in("public"), NULL, 0));
        R(link(in("private"), in("open-to-all/l")) == 0); // fs.protected_hardlinks
        R(truncate(in("public"), 0));
        _exit(0);
    }
    waitpid(child, NULL, 0);
    make(in("open-to-all/roots"), "x");
    R(mkdir(in("group"), 0755));
    R(chown(in("group"), 0, 77));
    R(chmod(in("group"), 0775));
    fflush(stdout);
    child = fork();
    if (!child) {
        gid_t groups[] = {77, 78};
        if (syscall(SYS_setgroups, 2, groups)) SAY("no groups");
        if (setresgid(1001, 1001, 1001) || setresuid(1001, 1001, 1001)) SAY("not another user");
        R(unlink(in("open-to-all/roots")));
        R(unlink(in("open-to-all/mine")));
        TRY(open(in("open-to-all/mine"), O_RDONLY));
        TRY(open(in("group/new"), O_CREAT | O_RDWR, 0600)); // by a supplementary group
        STAT(in("group/new"));
        _exit(0);
    }
    waitpid(child, NULL, 0);
    // The effective user counts, not the real one.
    R(setresuid(0, 1000, 0));
    TRY(open(in("private"), O_RDONLY));
    R(access(in("private"), R_OK));
    R(syscall(SYS_faccessat2, AT_FDCWD, in("private"), R_OK, AT_EACCESS));
    R(b = open(in("open-to-all/effective"), O_CREAT | O_RDWR, 0644));
    FSTAT(b);
    R(setresuid(0, 0, 0));
    R(close(b));
    R(close(a));
}

static void interrupted(void) {
    int a;
    fill(big, sizeof big, 9);
    // A timer does not spoil long transfers.
    struct sigaction action = {.sa_handler = count};
    sigaction(SIGALRM, &action, NULL);
    R(a = open(in("long-file"), O_CREAT | O_RDWR | O_TRUNC, 0600));
    struct itimerval timer = {{0, 5000}, {0, 5000}};
    setitimer(ITIMER_REAL, &timer, NULL);
    int whole = 0;
    for (int i = 0; i < 20; ++i) whole += write(a, big, 1 << 20) == 1 << 20;
    R(lseek(a, 0, SEEK_SET));
    for (int i = 0; i < 20; ++i) whole += read(a, other, 1 << 20) == 1 << 20;
    timer = (struct itimerval){};
    setitimer(ITIMER_REAL, &timer, NULL);
    SAY("whole %d, signals %s", whole, signals ? "some" : "none");
    R(close(a));
}

static void rare(void) {
    int fd;
    R(fd = open(in("dir"), O_TMPFILE | O_RDWR, 0600));
    R(write(fd, "temporary", 9));
    FSTAT(fd);
    LIST(in("dir"));
    R(linkat(fd, "", AT_FDCWD, in("dir/named"), AT_EMPTY_PATH));
    FSTAT(fd);
    R(close(fd));
    FILE_TEXT(in("dir/named"));
    R(mknod(in("regular"), S_IFREG | 0640, 0));
    STAT(in("regular"));
    R(mknod(in("regular"), S_IFREG | 0640, 0));
    R(mknod(in("dir"), S_IFREG | 0640, 0));
    R(mknod(in("fifo"), S_IFIFO | 0640, 0));
    STAT(in("fifo"));
    R(unlink(in("fifo")));
    R(fd = open(in("open"), O_RDWR));
    R(pwritev2(fd, &(struct iovec){"text", 4}, 1, 0, RWF_DSYNC));
    R(pwritev2(fd, &(struct iovec){"text", 4}, 1, 0, RWF_APPEND));
    FSTAT(fd);
    int left = -1;
    R(lseek(fd, 2, SEEK_SET));
    R(ioctl(fd, FIONREAD, &left));
    SAY("left %d", left);
    R(close(fd));
}

// Without O_EXCL it could get a name later, which is not possible outside.
static void temporary(void) {
    int fd;
    R(fd = open(in("dir"), O_TMPFILE | O_RDWR | O_EXCL, 0600));
    FLAGS(fd);
    R(write(fd, "temporary", 9));
    FSTAT(fd);
    TEXT(fd);
    LIST(in("dir"));
    R(lock_range(fd, F_SETLK, F_WRLCK, 0, 0));
    R(close(fd));
    TRY(open(in("dir"), O_TMPFILE | O_RDONLY | O_EXCL, 0600));
    TRY(open(in("open"), O_TMPFILE | O_RDWR | O_EXCL, 0600));
    TRY(open(in("none"), O_TMPFILE | O_RDWR | O_EXCL, 0600));
}

static const struct {
    const char *name;
    void (*run)(void);
} sections[] = {
    {"open", opens},
    {"openat2", openat2s},
    {"openat2-large", openat2_large},
    {"data", data},
    {"vectors", vectors},
    {"bad-pointers", bad_pointers},
    {"seek", seeks},
    {"sizes", file_sizes},
    {"stat", stats},
    {"access", accesses},
    {"rename", renames},
    {"link", links},
    {"unlink", unlinks},
    {"mkdir", make_directories},
    {"attributes", attributes},
    {"shut", shut},
    {"special-bits", special_bits},
    {"umask", umasks},
    {"times", times},
    {"getdents", directories},
    {"cwd", working_directory},
    {"descriptors", descriptors},
    {"close-range", close_ranges},
    {"limits", limits},
    {"between", between},
    {"sendfile", sendfiles},
    {"locks", locks},
    {"record-locks", record_locks},
    {"users", users},
    {"interrupted", interrupted},
    {"rare", rare},
    {"temporary", temporary},
};

// What every section finds.
static void prepare(void) {
    R(mkdir(top, 0755));
    R(mkdir(in("dir"), 0755));
    make(in("dir/inner"), "inner");
    make(in("open"), "opened");
    R(symlink("open", in("link")));
    R(symlink("turn", in("round")));
    R(symlink("round", in("turn")));
    R(symlink("nowhere", in("dangling")));
    LIST(top);
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    if (argc < 3) { // the sections' names
        for (size_t i = 0; i < sizeof sections / sizeof *sections; ++i) puts(sections[i].name);
        return 0;
    }
    static char path[200];
    snprintf(path, sizeof path, "%s/%s", argv[1], argv[2]);
    top = path;
    if (!strcmp(argv[2], "hold")) { // what record_locks() executes
        char c;
        return write(100, "x", 1) != 1 || read(101, &c, 1) != 1;
    }
    umask(022);
    for (size_t i = 0; i < sizeof sections / sizeof *sections; ++i)
        if (!strcmp(sections[i].name, argv[2])) {
            prepare();
            sections[i].run();
            LIST(top);
            puts("end");
            return 0;
        }
    return 2;
}
