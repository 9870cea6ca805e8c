// select, with other descriptors and without.
#include "waits.h"

void test_selects(void) {
    int pipes[2], s = connected(), f = file();
    pipe(pipes);
    fd_set r, w, e;
    struct timeval t = {0, 0};
    int n = 1 + (s > pipes[1] ? s : pipes[1]);
    n = n > f ? n : f + 1;
#define SETS(rs, rp, rf)                                                       \
    do {                                                                       \
        FD_ZERO(&r); FD_ZERO(&w); FD_ZERO(&e);                                 \
        if (rs) FD_SET(s, &r);                                                 \
        if (rp) FD_SET(pipes[0], &r);                                          \
        if (rf) FD_SET(f, &r);                                                 \
    } while (0)
#define FOUND() SAY("%d %d %d, %d %d %d", FD_ISSET(s, &r) != 0, FD_ISSET(pipes[0], &r) != 0, FD_ISSET(f, &r) != 0, FD_ISSET(s, &w) != 0, FD_ISSET(f, &w) != 0, FD_ISSET(s, &e) != 0)
    SETS(1, 1, 0);
    R(select(n, &r, NULL, NULL, &t));
    FOUND();
    SETS(1, 1, 1);
    R(select(n, &r, NULL, NULL, NULL));
    FOUND();
    SETS(1, 1, 0);
    FD_SET(s, &w);
    FD_SET(f, &w);
    FD_SET(s, &e);
    R(select(n, &r, &w, &e, NULL));
    FOUND();
    SETS(1, 1, 0);
    t = (struct timeval){0, 300000};
    TIMED(0.2, 3, select(n, &r, NULL, NULL, &t));
    FOUND();
    SAY("left %ld %ld", (long)t.tv_sec, (long)t.tv_usec);
    write(pipes[1], "x", 1);
    SETS(1, 1, 0);
    R(select(n, &r, NULL, NULL, NULL));
    FOUND();
    ask(s, "echo 3\nabc");
    usleep(300000);
    SETS(1, 1, 0);
    FD_SET(s, &w);
    R(select(n, &r, &w, NULL, NULL)); // a socket in two sets counts twice
    FOUND();
    SETS(0, 1, 0);
    FD_SET(99, &r);
    R(select(100, &r, NULL, NULL, NULL));
    R(select(-1, &r, NULL, NULL, NULL));
    t.tv_sec = -1;
    R(select(n, &r, NULL, NULL, &t));
    R(read(s, buffer, 10));
    R(read(pipes[0], buffer, 10));
    ask(s, "wait 300\necho 3\nabc");
    SETS(1, 1, 0);
    TIMED(0.1, 3, select(n, &r, NULL, NULL, NULL));
    FOUND();
    R(read(s, buffer, 10));
    SETS(1, 1, 0);
    pthread_t thread;
    later_pipe = pipes[1];
    pthread_create(&thread, NULL, later, (void *)300);
    TIMED(0.1, 3, select(n, &r, NULL, NULL, NULL));
    FOUND();
    pthread_join(thread, NULL);
    R(read(pipes[0], buffer, 10));
    // A high number.
    int high;
    R(high = dup2(s, 700));
    FD_ZERO(&r);
    FD_SET(high, &r);
    ask(s, "wait 200\necho 1\na");
    R(select(high + 1, &r, NULL, NULL, NULL));
    SAY("%d", FD_ISSET(high, &r) != 0);
    R(read(high, buffer, 10));
    struct timespec limit = {0, 200000000};
    SETS(1, 1, 0);
    TIMED(0.1, 3, pselect(n, &r, NULL, NULL, &limit, NULL));
    SAY("left %ld %ld", (long)limit.tv_sec, limit.tv_nsec);
    handle(SIGALRM, 0);
    sigset_t mask, old;
    sigemptyset(&mask);
    sigaddset(&mask, SIGALRM);
    sigprocmask(SIG_BLOCK, &mask, &old);
    after(200);
    usleep(300000); // it is pending
    SAY("signals %d", signals);
    SETS(1, 1, 0);
    R(pselect(n, &r, NULL, NULL, NULL, &old));
    SAY("signals %d", signals);
    SETS(1, 0, 0);
    after(200);
    TIMED(0.1, 3, pselect(n, &r, NULL, NULL, NULL, &old));
    SAY("signals %d", signals);
}

// Only sockets and files of the service's own.
void test_select_alone(void) {
    int s = connected(), f = file(), n = 1 + (s > f ? s : f);
    fd_set r, w, e;
    struct timeval t = {0, 0};
#define ALONE(rs, rf, ws)                                                      \
    do {                                                                       \
        FD_ZERO(&r); FD_ZERO(&w); FD_ZERO(&e);                                 \
        if (rs) FD_SET(s, &r);                                                 \
        if (rf) FD_SET(f, &r);                                                 \
        if (ws) FD_SET(s, &w);                                                 \
        FD_SET(s, &e);                                                         \
    } while (0)
#define THEM() SAY("%d %d, %d, %d", FD_ISSET(s, &r) != 0, FD_ISSET(f, &r) != 0, FD_ISSET(s, &w) != 0, FD_ISSET(s, &e) != 0)
    ALONE(1, 0, 0);
    R(select(n, &r, &w, &e, &t));
    THEM();
    ALONE(1, 1, 1);
    R(select(n, &r, &w, &e, NULL));
    THEM();
    ALONE(1, 0, 0);
    t = (struct timeval){0, 300000};
    TIMED(0.2, 3, select(n, &r, NULL, NULL, &t));
    THEM();
    SAY("left %ld %ld", (long)t.tv_sec, (long)t.tv_usec);
    ask(s, "wait 300\necho 3\nabc");
    ALONE(1, 0, 0);
    t = (struct timeval){5, 0};
    TIMED(0.1, 3, select(n, &r, NULL, &e, &t));
    THEM();
    SAY("left some %d", t.tv_sec >= 1 && t.tv_sec < 5);
    ALONE(1, 1, 1);
    R(select(n, &r, &w, NULL, NULL));
    THEM();
    R(read(s, buffer, 10));
    ALONE(1, 1, 1);
    R(select(s, &r, &w, &e, &t) >= 0); // not as far as the socket
    FD_SET(99, &r);
    t.tv_sec = -1;
    R(select(n, &r, &w, &e, &t));
    R(select(-1, &r, &w, &e, NULL));
    R(select(n, (fd_set *)8, NULL, NULL, NULL));
    handle(SIGALRM, SA_RESTART);
    ALONE(1, 0, 0);
    after(200);
    TIMED(0.1, 3, select(n, &r, NULL, NULL, NULL));
    SAY("signals %d", signals);
    sigset_t mask, old;
    sigemptyset(&mask);
    sigaddset(&mask, SIGALRM);
    sigprocmask(SIG_BLOCK, &mask, &old);
    after(200);
    ALONE(1, 0, 0);
    TIMED(0.1, 3, pselect(n, &r, NULL, NULL, NULL, &old));
    SAY("signals %d", signals);
    struct timespec limit = {0, 200000000};
    ALONE(1, 0, 0);
    TIMED(0.1, 3, pselect(n, &r, NULL, NULL, &limit, NULL));
    THEM();
    ask(s, "shut\n");
    ALONE(1, 0, 0);
    R(select(n, &r, NULL, NULL, NULL));
    THEM();
    R(read(s, buffer, 10));
}
