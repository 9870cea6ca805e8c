// Waiting: poll, select, epoll, on sockets and files together with pipes and eventfds, and signals meanwhile. The argument is
// DIRECTORY,ADDRESS:PORT, that of echo.py. See calls.h.
#include "calls.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

static struct sockaddr_in server;
static char directory[200];
static char buffer[4096];

static int connected(void) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&server, sizeof server)) SAY("connect %s", strerrorname_np(errno));
    return fd;
}

static void ask(int fd, const char *command) {
    if (write(fd, command, strlen(command)) != (ssize_t)strlen(command)) SAY("ask: %s", strerrorname_np(errno));
}

static int file(void) {
    char path[300];
    snprintf(path, sizeof path, "%s/file", directory);
    int fd = open(path, O_CREAT | O_RDWR, 0600);
    if (fd < 0) SAY("file %s", strerrorname_np(errno));
    return fd;
}

// Prints the call and whether it took at least `low` and at most `high` seconds.
#define TIMED(low, high, call)                                                 \
    do {                                                                       \
        double start_ = now();                                                 \
        R(call);                                                               \
        double took_ = now() - start_;                                         \
        if (took_ < (low) || took_ > (high)) SAY("took %.2f", took_);          \
    } while (0)

static void show(int line, struct pollfd *p, int n) {
    printf("%d revents", line);
    for (int i = 0; i < n; ++i) printf(" %x", p[i].revents);
    putchar('\n');
    fflush(stdout);
}
#define SHOW(p, n) show(__LINE__, p, n)

static int later_pipe; // for `later`

static void *later(void *ms) {
    usleep((useconds_t)(long)ms * 1000);
    write(later_pipe, "l", 1);
    return NULL;
}

static volatile int signals;
static void on_signal(int signal) {
    (void)signal;
    ++signals;
}

static void handle(int number, int flags) {
    struct sigaction a = {.sa_handler = on_signal, .sa_flags = flags};
    sigaction(number, &a, NULL);
}

static void after(long ms) {
    struct itimerval t = {{0, 0}, {ms / 1000, ms % 1000 * 1000}};
    setitimer(ITIMER_REAL, &t, NULL);
}

static void polls(void) {
    int pipes[2], s = connected(), f = file(), event = eventfd(0, 0);
    pipe(pipes);
    struct pollfd p[6] = {{s, POLLIN, 0}, {pipes[0], POLLIN, 0}, {event, POLLIN, 0}, {-1, POLLIN, 0}, {99, POLLIN, 0}, {f, POLLIN | POLLOUT, 0}};
    R(poll(p, 1, 0));
    SHOW(p, 1);
    R(poll(p, 3, 0));
    SHOW(p, 3);
    R(poll(p, 5, 0)); // a closed one
    SHOW(p, 5);
    R(poll(p, 6, -1)); // a file is always ready
    SHOW(p, 6);
    R(poll(p + 5, 1, -1));
    SHOW(p + 5, 1);
    TIMED(0.2, 3, poll(p, 3, 300));
    SHOW(p, 3);
    TIMED(0.2, 3, poll(p, 1, 300));
    p[0].events = POLLIN | POLLOUT;
    R(poll(p, 3, -1));
    SHOW(p, 3);
    p[0].events = POLLIN;
    write(pipes[1], "x", 1);
    R(poll(p, 3, -1));
    SHOW(p, 3);
    ask(s, "echo 3\nabc");
    usleep(300000);
    R(poll(p, 3, -1)); // both
    SHOW(p, 3);
    R(read(pipes[0], buffer, 10));
    R(poll(p, 3, -1));
    SHOW(p, 3);
    R(read(s, buffer, 2));
    R(poll(p, 1, 0)); // there is still one
    R(read(s, buffer, 2));
    R(poll(p, 1, 0));
    // Woken by the socket.
    ask(s, "wait 300\necho 3\nabc");
    TIMED(0.1, 3, poll(p, 3, 5000));
    SHOW(p, 3);
    R(read(s, buffer, 10));
    ask(s, "wait 300\necho 3\nabc");
    TIMED(0.1, 3, poll(p, 1, -1));
    SHOW(p, 1);
    R(read(s, buffer, 10));
    // Woken by the pipe while the socket is waited for, too.
    pthread_t t;
    later_pipe = pipes[1];
    pthread_create(&t, NULL, later, (void *)300);
    TIMED(0.1, 3, poll(p, 3, 5000));
    SHOW(p, 3);
    pthread_join(t, NULL);
    R(read(pipes[0], buffer, 10));
    // A blocking read of the socket while another thread writes to the pipe.
    ask(s, "wait 300\necho 3\nabc");
    TIMED(0.1, 3, read(s, buffer, 10));
    // The end of the stream.
    ask(s, "shut\n");
    p[0].events = POLLIN | POLLRDHUP | POLLPRI;
    R(poll(p, 3, 3000));
    usleep(100000);
    R(poll(p, 3, 3000));
    SHOW(p, 3);
    R(poll(NULL, 0, 10));
    R(poll(NULL, 3, 10));
    R(poll((struct pollfd *)8, 1, 10));
    R(poll(p, 1u << 30, 10));
    int s2 = connected(), udp = socket(AF_INET, SOCK_DGRAM, 0);
    connect(udp, (struct sockaddr *)&server, sizeof server);
    ask(s2, "wait 200\necho 1\na");
    struct pollfd q[3] = {{s2, POLLIN, 0}, {udp, POLLIN, 0}, {s2, POLLOUT, 0}}; // one twice
    R(poll(q, 3, -1));
    SHOW(q, 3);
    R(poll(q, 2, -1));
    SHOW(q, 2);
    send(udp, "delay", 5, 0);
    R(read(s2, buffer, 10));
    R(poll(q, 2, 3000));
    SHOW(q, 2);
    R(recv(udp, buffer, 10, 0));
    struct timespec limit = {0, 200000000};
    TIMED(0.1, 3, ppoll(q, 2, &limit, NULL));
    limit.tv_nsec = 2000000000;
    R(ppoll(q, 2, &limit, NULL));
    q[0].events = 0;
    TIMED(0.1, 3, poll(q, 2, 200));
}

static void selects(void) {
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
static void select_alone(void) {
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

static void show_events(int line, struct epoll_event *e, int n) {
    uint64_t seen = 0;
    printf("%d events", line);
    for (uint64_t tag = 0; tag < 20; ++tag) // in a fixed order
        for (int i = 0; i < n; ++i)
            if (e[i].data.u64 == tag) printf(" %llu:%x", (unsigned long long)tag, e[i].events), ++seen;
    if ((int)seen != (n > 0 ? n : 0)) printf(" and others");
    putchar('\n');
    fflush(stdout);
}

static void epolls(void) {
    int pipes[2], s = connected(), s2 = connected(), f = file(), event = eventfd(0, EFD_NONBLOCK), e;
    struct epoll_event found[10], ev;
    pipe(pipes);
#define CTL(op, fd, flags, tag) (ev.events = (flags), ev.data.u64 = (tag), R(epoll_ctl(e, op, fd, &ev)))
#define WAIT(ms)                                                               \
    do {                                                                       \
        int n_ = (int)R(epoll_wait(e, found, 10, ms));                         \
        show_events(__LINE__, found, n_);                                      \
    } while (0)
    R(e = epoll_create1(EPOLL_CLOEXEC));
    CTL(EPOLL_CTL_ADD, s, EPOLLIN, 1);
    CTL(EPOLL_CTL_ADD, s, EPOLLIN, 1);
    CTL(EPOLL_CTL_ADD, f, EPOLLIN, 9);
    CTL(EPOLL_CTL_MOD, s2, EPOLLIN, 2);
    CTL(EPOLL_CTL_DEL, s2, EPOLLIN, 2);
    CTL(EPOLL_CTL_ADD, 99, EPOLLIN, 2);
    CTL(EPOLL_CTL_ADD, e, EPOLLIN, 2);
    CTL(77, s2, EPOLLIN, 2);
    R(epoll_ctl(e, EPOLL_CTL_ADD, s2, NULL));
    R(epoll_ctl(99, EPOLL_CTL_ADD, s2, &ev));
    R(epoll_ctl(s, EPOLL_CTL_ADD, s2, &ev));
    R(epoll_wait(s, found, 10, 0));
    R(epoll_wait(e, found, 0, 0));
    CTL(EPOLL_CTL_ADD, pipes[0], EPOLLIN, 3);
    CTL(EPOLL_CTL_ADD, event, EPOLLIN, 4);
    WAIT(0);
    double start = now();
    WAIT(300);
    if (now() - start < 0.2 || now() - start > 3) SAY("took %.2f", now() - start);
    SECTION("level");
    ask(s, "echo 4\nabcd");
    WAIT(3000);
    WAIT(3000);
    R(read(s, buffer, 2));
    WAIT(3000);
    R(read(s, buffer, 10));
    WAIT(0);
    write(pipes[1], "x", 1);
    uint64_t one = 1;
    write(event, &one, 8);
    ask(s, "echo 4\nabcd");
    usleep(300000);
    WAIT(3000); // all three
    R(epoll_wait(e, found, 1, 3000));
    read(pipes[0], buffer, 10);
    read(event, &one, 8);
    WAIT(3000);
    R(read(s, buffer, 10));
    ask(s, "wait 300\necho 1\na"); // comes while it waits
    WAIT(-1);
    R(read(s, buffer, 10));
    pthread_t t;
    later_pipe = pipes[1];
    pthread_create(&t, NULL, later, (void *)300);
    WAIT(-1);
    pthread_join(t, NULL);
    R(read(pipes[0], buffer, 10));
    CTL(EPOLL_CTL_MOD, s, EPOLLIN | EPOLLOUT, 5);
    WAIT(-1);
    CTL(EPOLL_CTL_MOD, s, EPOLLOUT, 6);
    WAIT(-1);
    CTL(EPOLL_CTL_MOD, s, 0, 6);
    WAIT(100);
    CTL(EPOLL_CTL_DEL, s, 0, 6);
    CTL(EPOLL_CTL_DEL, s, 0, 6);
    SECTION("edge");
    CTL(EPOLL_CTL_ADD, s, EPOLLIN | EPOLLET, 7);
    WAIT(0);
    ask(s, "echo 4\nabcd");
    WAIT(3000);
    WAIT(200); // no more, although it was not read
    R(read(s, buffer, 2));
    WAIT(200);
    ask(s, "echo 4\nefgh");
    WAIT(3000); // more has come
    WAIT(200);
    R(recv(s, buffer, 6, MSG_WAITALL));
    R(recv(s, buffer, 6, MSG_DONTWAIT));
    ask(s, "wait 300\necho 1\na");
    WAIT(3000);
    R(read(s, buffer, 10));
    CTL(EPOLL_CTL_MOD, s, EPOLLIN | EPOLLOUT | EPOLLET, 7);
    WAIT(3000);
    WAIT(200);
    CTL(EPOLL_CTL_MOD, s, EPOLLIN | EPOLLOUT | EPOLLET, 7);
    WAIT(3000); // a change tells it again
    SECTION("once");
    CTL(EPOLL_CTL_MOD, s, EPOLLIN | EPOLLONESHOT, 8);
    ask(s, "echo 4\nabcd");
    WAIT(3000);
    WAIT(200);
    CTL(EPOLL_CTL_MOD, s, EPOLLIN | EPOLLONESHOT, 8);
    WAIT(3000);
    WAIT(200);
    R(recv(s, buffer, 4, MSG_WAITALL));
    CTL(EPOLL_CTL_MOD, s, EPOLLIN | EPOLLRDHUP, 10);
    SECTION("two");
    CTL(EPOLL_CTL_ADD, s2, EPOLLIN, 11);
    ask(s2, "echo 1\nb");
    ask(s, "echo 1\na");
    usleep(300000);
    WAIT(3000);
    R(read(s2, buffer, 10));
    WAIT(3000);
    R(read(s, buffer, 10));
    R(close(s2)); // is no longer there
    WAIT(100);
    int copy;
    R(copy = dup(s));
    ask(s, "echo 1\na");
    WAIT(3000);
    R(close(s)); // the copy holds it
    WAIT(3000);
    R(read(copy, buffer, 10));
    ask(copy, "shut\n");
    usleep(300000);
    WAIT(3000);
    R(close(copy));
    WAIT(100);
    SECTION("nested and inherited");
    int inner, fresh = connected();
    R(inner = epoll_create1(0));
    ev = (struct epoll_event){.events = EPOLLIN, .data.u64 = 12};
    R(epoll_ctl(inner, EPOLL_CTL_ADD, fresh, &ev));
    CTL(EPOLL_CTL_ADD, inner, EPOLLIN, 13);
    WAIT(0);
    ask(fresh, "echo 1\na");
    WAIT(3000);
    struct pollfd p = {inner, POLLIN, 0};
    R(poll(&p, 1, 3000));
    SHOW(&p, 1);
    int n = (int)R(epoll_wait(inner, found, 10, 0));
    show_events(__LINE__, found, n);
    R(read(fresh, buffer, 10));
    R(poll(&p, 1, 0));
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        ask(fresh, "echo 1\na");
        n = (int)R(epoll_wait(inner, found, 10, 3000));
        show_events(__LINE__, found, n);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    R(read(fresh, buffer, 10));
    // Added while another thread waits.
    pthread_create(&t, NULL, later, (void *)200);
    WAIT(3000);
    pthread_join(t, NULL);
    // Not to be connected yet.
    int other = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    CTL(EPOLL_CTL_ADD, other, EPOLLIN | EPOLLOUT, 14);
    R(read(pipes[0], buffer, 10));
    WAIT(0);
    R(connect(other, (struct sockaddr *)&server, sizeof server));
    WAIT(3000);
    handle(SIGALRM, SA_RESTART);
    CTL(EPOLL_CTL_MOD, other, EPOLLIN, 14);
    after(200);
    TIMED(0.1, 3, epoll_wait(e, found, 10, 5000));
    SAY("signals %d", signals);
    sigset_t none, mask;
    sigemptyset(&none);
    sigemptyset(&mask);
    sigaddset(&mask, SIGALRM);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    after(100);
    TIMED(0.25, 3, epoll_wait(e, found, 10, 300));
    SAY("signals %d", signals);
    R(epoll_pwait(e, found, 10, 3000, &none));
    SAY("signals %d", signals);
    struct timespec limit = {0, 200000000};
    TIMED(0.1, 3, syscall(SYS_epoll_pwait2, e, found, 10, &limit, NULL, 8));
}

// Threads and an instance of theirs.
static int shared_instance;
static volatile int shared_stop;
static pthread_mutex_t shared_lock = PTHREAD_MUTEX_INITIALIZER;
static int shared_times[20], shared_flags[20];

static void *gather(void *unused) {
    (void)unused;
    struct epoll_event found[4];
    while (!shared_stop) {
        int n = epoll_wait(shared_instance, found, 4, -1);
        pthread_mutex_lock(&shared_lock);
        for (int i = 0; i < n; ++i) ++shared_times[found[i].data.u64], shared_flags[found[i].data.u64] |= (int)found[i].events;
        pthread_mutex_unlock(&shared_lock);
        if (n < 0) SAY("epoll_wait %s", strerrorname_np(errno));
    }
    return NULL;
}

#define TIMES(tag) SAY("%d times, %x", shared_times[tag], shared_flags[tag]), shared_times[tag] = shared_flags[tag] = 0

static void epoll_threads(void) {
    int pipes[2];
    pipe(pipes);
    pthread_t threads[3];
    struct epoll_event ev = {.events = EPOLLIN | EPOLLET, .data.u64 = 1};
    R(shared_instance = epoll_create1(0));
    R(epoll_ctl(shared_instance, EPOLL_CTL_ADD, pipes[0], &ev));
    pthread_create(&threads[0], NULL, gather, NULL);
    usleep(200000);
    TIMES(1);
    // It waits already, for nothing but a pipe.
    int s = connected();
    ev = (struct epoll_event){.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.u64 = 2};
    R(epoll_ctl(shared_instance, EPOLL_CTL_ADD, s, &ev));
    usleep(300000);
    TIMES(2);
    ask(s, "echo 3\nabc");
    usleep(400000);
    TIMES(2);
    write(pipes[1], "x", 1);
    usleep(200000);
    TIMES(1);
    R(recv(s, buffer, 3, MSG_WAITALL));
    // Three wait, and what comes is told to one of them.
    pthread_create(&threads[1], NULL, gather, NULL);
    pthread_create(&threads[2], NULL, gather, NULL);
    usleep(300000);
    shared_times[2] = shared_flags[2] = 0;
    for (int i = 0; i < 3; ++i) {
        ev = (struct epoll_event){.events = EPOLLIN | EPOLLONESHOT, .data.u64 = 2};
        R(epoll_ctl(shared_instance, EPOLL_CTL_MOD, s, &ev));
        ask(s, "wait 100\necho 3\nabc");
        usleep(500000);
        TIMES(2);
        R(recv(s, buffer, 3, MSG_WAITALL));
    }
    // Taken away while they wait: what comes is told to nobody.
    R(epoll_ctl(shared_instance, EPOLL_CTL_DEL, s, &ev));
    ask(s, "echo 3\nabc");
    usleep(300000);
    TIMES(2);
    R(recv(s, buffer, 3, MSG_WAITALL));
    shared_stop = 1;
    ev = (struct epoll_event){.events = EPOLLIN, .data.u64 = 1};
    R(epoll_ctl(shared_instance, EPOLL_CTL_MOD, pipes[0], &ev)); // for every one of them
    for (int i = 0; i < 3; ++i) pthread_join(threads[i], NULL);
}

// How late a thread that waits for a socket and a pipe, and has done so for a while, sees that the pipe is ready.
static double written_at;
static void *write_late(void *unused) {
    (void)unused;
    usleep(800000);
    written_at = now();
    write(later_pipe, "l", 1);
    return NULL;
}

static int compare(const void *a, const void *b) { return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b); }

static void prompt(void) {
    int pipes[2], s = connected(), e = epoll_create1(0);
    pipe(pipes);
    later_pipe = pipes[1];
    struct epoll_event ev = {.events = EPOLLIN}, found[2];
    epoll_ctl(e, EPOLL_CTL_ADD, s, &ev);
    epoll_ctl(e, EPOLL_CTL_ADD, pipes[0], &ev);
    struct pollfd p[2] = {{s, POLLIN, 0}, {pipes[0], POLLIN, 0}};
    for (int how = 0; how < 3; ++how) {
        double late[5];
        for (int i = 0; i < 5; ++i) {
            pthread_t t;
            pthread_create(&t, NULL, write_late, NULL);
            fd_set r;
            FD_ZERO(&r);
            FD_SET(s, &r);
            FD_SET(pipes[0], &r);
            int n = how == 0 ? poll(p, 2, -1) : how == 1 ? select(pipes[0] + 1, &r, NULL, NULL, NULL) : epoll_wait(e, found, 2, -1);
            late[i] = now() - written_at;
            if (n != 1) SAY("%d: %d", how, n);
            pthread_join(t, NULL);
            read(pipes[0], buffer, 1);
        }
        qsort(late, 5, sizeof *late, compare);
        SAY("prompt %d", late[2] < 0.02);
        if (late[2] >= 0.02) SAY("%.3f s", late[2]);
    }
}

static pthread_t main_thread;

static void *interrupts(void *ms) {
    usleep((useconds_t)(long)ms * 1000);
    pthread_kill(main_thread, SIGUSR1);
    return NULL;
}

static void interrupted(void) {
    int s = connected(), udp = socket(AF_INET, SOCK_DGRAM, 0);
    connect(udp, (struct sockaddr *)&server, sizeof server);
    struct pollfd p = {s, POLLIN, 0};
    handle(SIGALRM, 0);
#define SIGNALS() SAY("signals %d", signals)
    after(200);
    TIMED(0.1, 3, recvfrom(udp, buffer, 10, 0, NULL, NULL));
    SIGNALS();
    after(200);
    TIMED(0.1, 3, read(s, buffer, 10));
    SIGNALS();
    after(200);
    TIMED(0.1, 3, recv(s, buffer, 10, MSG_WAITALL));
    SIGNALS();
    after(200);
    TIMED(0.1, 3, poll(&p, 1, 5000));
    SIGNALS();
    ask(s, "echo 3\nabc");
    usleep(300000);
    after(200);
    TIMED(0.1, 3, recv(s, buffer, 10, MSG_WAITALL)); // what was there already
    SIGNALS();
    SECTION("restarted");
    handle(SIGALRM, SA_RESTART);
    ask(s, "wait 600\necho 3\nabc");
    after(200);
    TIMED(0.4, 4, read(s, buffer, 10));
    SIGNALS();
    ask(s, "wait 600\necho 3\nabc");
    after(200);
    TIMED(0.4, 4, recv(s, buffer, 3, MSG_WAITALL));
    SIGNALS();
    send(udp, "delay", 5, 0);
    after(50);
    R(recvfrom(udp, buffer, 10, 0, NULL, NULL));
    SIGNALS();
    after(200);
    TIMED(0.1, 3, poll(&p, 1, 5000)); // never restarted
    SIGNALS();
    struct timeval limit = {0, 500000};
    setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    after(200);
    TIMED(0.1, 3, read(s, buffer, 10)); // nor is this, with a limit
    SIGNALS();
    limit.tv_usec = 0;
    setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    SECTION("masked");
    sigset_t mask, old;
    sigemptyset(&mask);
    sigaddset(&mask, SIGALRM);
    sigprocmask(SIG_BLOCK, &mask, &old);
    ask(s, "wait 400\necho 3\nabc");
    after(100);
    handle(SIGALRM, 0);
    TIMED(0.3, 3, read(s, buffer, 10)); // not disturbed
    SIGNALS();
    struct timespec t = {3, 0};
    R(ppoll(&p, 1, &t, &old)); // pending
    SIGNALS();
    after(200);
    TIMED(0.1, 2, ppoll(&p, 1, &t, &old));
    SIGNALS();
    sigset_t is;
    sigprocmask(SIG_BLOCK, NULL, &is);
    SAY("blocked again %d", sigismember(&is, SIGALRM));
    sigprocmask(SIG_SETMASK, &old, NULL);
    SECTION("ignored");
    signal(SIGALRM, SIG_IGN);
    ask(s, "wait 400\necho 3\nabc");
    after(100);
    TIMED(0.3, 3, read(s, buffer, 10));
    signal(SIGCHLD, SIG_DFL); // ignored by default
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        usleep(200000);
        _exit(0);
    }
    ask(s, "wait 400\necho 3\nabc");
    R(read(s, buffer, 10));
    waitpid(child, NULL, 0);
    SECTION("stopped");
    child = fork();
    if (!child) {
        usleep(200000);
        kill(getppid(), SIGSTOP);
        usleep(300000);
        kill(getppid(), SIGCONT);
        _exit(0);
    }
    ask(s, "wait 1000\necho 3\nabc");
    R(read(s, buffer, 10));
    waitpid(child, NULL, 0);
    child = fork();
    if (!child) {
        usleep(1000000);
        kill(getppid(), SIGSTOP);
        usleep(100000);
        kill(getppid(), SIGCONT);
        _exit(0);
    }
    TIMED(1.9, 2.9, poll(&p, 1, 2000)); // its time goes on
    waitpid(child, NULL, 0);
    SECTION("thread");
    main_thread = pthread_self();
    handle(SIGUSR1, 0);
    pthread_t thread;
    pthread_create(&thread, NULL, interrupts, (void *)200);
    TIMED(0.1, 3, read(s, buffer, 10));
    SIGNALS();
    pthread_join(thread, NULL);
    SECTION("connecting");
    struct sockaddr_in closed = server;
    closed.sin_port = htons((uint16_t)(ntohs(server.sin_port) + 2));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    R(connect(fd, (struct sockaddr *)&closed, sizeof closed));
    SECTION("killed");
    signal(SIGALRM, SIG_DFL);
    fflush(stdout);
    child = fork();
    if (!child) {
        after(200);
        read(s, buffer, 10);
        _exit(3);
    }
    int status;
    double start = now();
    R(waitpid(child, &status, 0) == child);
    SAY("signal %d in time %d", WIFSIGNALED(status) ? WTERMSIG(status) : -1, now() - start < 3);
    child = fork();
    if (!child) {
        poll(&p, 1, -1);
        _exit(3);
    }
    usleep(200000);
    kill(child, SIGKILL);
    start = now();
    R(waitpid(child, &status, 0) == child);
    SAY("signal %d in time %d", WIFSIGNALED(status) ? WTERMSIG(status) : -1, now() - start < 3);
    SECTION("still there");
    ask(s, "echo 3\nabc");
    R(recv(s, buffer, 3, MSG_WAITALL));
    // A handler that makes calls itself.
    R(lseek(file(), 0, SEEK_SET));
}

static int handler_socket, handler_file;
static volatile ssize_t handler_wrote, handler_got;

static void calling(int signal) {
    (void)signal;
    handler_wrote = write(handler_file, "handler", 7);
    ask(handler_socket, "echo 2\nhh");
    handler_got = recv(handler_socket, buffer + 100, 2, MSG_WAITALL);
}

static void handlers(void) {
    int s = connected();
    handler_socket = connected();
    handler_file = file();
    struct sigaction a = {.sa_handler = calling, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &a, NULL);
    ask(s, "wait 600\necho 3\nabc");
    after(200);
    R(read(s, buffer, 10));
    SAY("%zd %zd %.2s %.3s", handler_wrote, handler_got, buffer + 100, buffer);
    a.sa_flags = 0;
    sigaction(SIGALRM, &a, NULL);
    handler_wrote = handler_got = 0;
    after(200);
    R(read(s, buffer, 10));
    SAY("%zd %zd", handler_wrote, handler_got);
    R(lseek(handler_file, 0, SEEK_CUR));
    // Out of a wait, without returning to it.
    int sfd, tfd;
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR2);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    R(sfd = signalfd(-1, &mask, 0));
    R(tfd = timerfd_create(CLOCK_MONOTONIC, 0));
    struct pollfd p[3] = {{s, POLLIN, 0}, {sfd, POLLIN, 0}, {tfd, POLLIN, 0}};
    struct itimerspec t = {{0, 0}, {0, 200000000}};
    R(timerfd_settime(tfd, 0, &t, NULL));
    TIMED(0.1, 3, poll(p, 3, 5000));
    SHOW(p, 3);
    R(read(tfd, buffer, 8));
    R(kill(getpid(), SIGUSR2));
    R(poll(p, 3, 5000));
    SHOW(p, 3);
    // Two threads wait for two sockets, and each gets its own.
    ask(s, "wait 300\necho 2\nss");
    ask(handler_socket, "wait 200\necho 2\nhh");
    pid_t child = fork();
    if (!child) {
        ssize_t n = recv(handler_socket, buffer, 2, MSG_WAITALL);
        _exit(n == 2 && !memcmp(buffer, "hh", 2) ? 0 : 1);
    }
    R(recv(s, buffer, 2, MSG_WAITALL));
    SAY("%.2s", buffer);
    int status;
    R(waitpid(child, &status, 0) == child);
    SAY("%d", status);
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    char address[100];
    int port;
    if (argc < 3 || sscanf(argv[1], "%199[^,],%99[^:]:%d", directory, address, &port) != 3) return 2;
    server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, address, &server.sin_addr);
    mkdir(directory, 0755);
    const struct {
        const char *name;
        void (*run)(void);
    } sections[] = {{"poll", polls}, {"select", selects}, {"select-alone", select_alone}, {"epoll", epolls}, {"epoll-threads", epoll_threads}, {"prompt", prompt}, {"interrupted", interrupted}, {"handlers", handlers}};
    for (size_t i = 0; i < sizeof sections / sizeof *sections; ++i)
        if (!strcmp(sections[i].name, argv[2])) {
            sections[i].run();
            puts("end");
            return 0;
        }
    return 2;
}
