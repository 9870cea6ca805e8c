// epoll, also of several threads.
#include "waits.h"

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

void test_epolls(void) {
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

void test_epoll_threads(void) {
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
