// What is in a file: read and write in all variants, positions, sizes.
#include "files.h"

static const size_t sizes[] = {0, 1, 4095, 4096, 4097, 32767, 32768, 32769, 65536, 65537, 1 << 20, 3 << 20};
#define SIZES (sizeof sizes / sizeof *sizes)

void test_data(void) {
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

void test_vectors(void) {
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

void test_bad_pointers(void) {
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

void test_seeks(void) {
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

void test_file_sizes(void) {
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
