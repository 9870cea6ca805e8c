// Data between a hidden file and what is not hidden, and transfers that signals interrupt.
#include "files.h"
#include <sys/sendfile.h>

void test_between(void) {
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
void test_sendfiles(void) {
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

void test_interrupted(void) {
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
