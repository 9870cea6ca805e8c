// How soon a wait ends, and what signals make of one.
#include "waits.h"
#include <sys/timerfd.h>
#include <sys/signalfd.h>

// How late a thread that waits for a socket and a pipe, and has done so for a while, sees that the pipe is ready. What is late on a busy
// machine is told by threads that wait for a pipe alone.
static double written_at;
static void *write_late(void *microseconds) {
    usleep((useconds_t)(long)microseconds);
    written_at = now();
    write(later_pipe, "l", 1);
    return NULL;
}

static int compare(const void *a, const void *b) { return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b); }

static double median_of_5(double *values) {
    qsort(values, 5, sizeof *values, compare);
    return values[2];
}

void test_prompt(void) {
    int pipes[2], s = connected(), e = epoll_create1(0);
    pipe(pipes);
    later_pipe = pipes[1];
    struct epoll_event ev = {.events = EPOLLIN}, found[2];
    epoll_ctl(e, EPOLL_CTL_ADD, s, &ev);
    epoll_ctl(e, EPOLL_CTL_ADD, pipes[0], &ev);
    struct pollfd p[2] = {{s, POLLIN, 0}, {pipes[0], POLLIN, 0}};
    for (int how = 0; how < 3; ++how) {
        double late[5], alone[5];
        for (int i = 0; i < 5; ++i) {
            pthread_t t;
            pthread_create(&t, NULL, write_late, (void *)100000l);
            poll(p + 1, 1, -1);
            alone[i] = now() - written_at;
            pthread_join(t, NULL);
            read(pipes[0], buffer, 1);
            pthread_create(&t, NULL, write_late, (void *)800000l);
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
        const double usual = median_of_5(alone), took = median_of_5(late);
        SAY("prompt %d", took < 0.02 + 8 * usual);
        if (took >= 0.02 + 8 * usual) SAY("%.3f s, and %.3f s where nothing is hidden", took, usual);
    }
}

static pthread_t main_thread;

static void *interrupts(void *ms) {
    usleep((useconds_t)(long)ms * 1000);
    pthread_kill(main_thread, SIGUSR1);
    return NULL;
}

void test_interrupted(void) {
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

void test_handlers(void) {
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
