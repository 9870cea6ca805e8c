// Numbers of descriptors: dup, fcntl, close_range, limits.
#include "files.h"

void test_descriptors(void) {
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

void test_close_ranges(void) {
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

void test_limits(void) {
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
