// Data of a connection, and its end.
#include "network.h"

void test_streams(void) {
    int fd = CONNECTED();
    fill(data, sizeof data, 3);
    ask(fd, "echo 26\nabcdefghijklmnopqrstuvwxyz");
    wait_readable(fd);
    usleep(200000);
    int left = -1;
    R(ioctl(fd, FIONREAD, &left));
    SAY("left %d", left);
    memset(back, 0, 100);
    R(recv(fd, back, 5, MSG_PEEK));
    SAY("%s", back);
    R(recv(fd, back, 3, 0));
    SAY("%s", back);
    R(read(fd, back, 2));
    SAY("%s", back);
    R(recv(fd, back, 0, 0));
    R(read(fd, back, 0));
    struct iovec v[3] = {{back, 2}, {back + 10, 0}, {back + 20, 4}};
    memset(back, 0, 100);
    R(readv(fd, v, 3));
    SAY("%s %s", back, back + 20);
    struct sockaddr_storage from;
    socklen_t size = sizeof from;
    R(recvfrom(fd, back, 3, 0, (struct sockaddr *)&from, &size));
    SAY("size %u", size); // a stream tells no address
    char control[100];
    struct msghdr m = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = v, .msg_iovlen = 3, .msg_control = control, .msg_controllen = sizeof control};
    memset(back, 0, 100);
    R(recvmsg(fd, &m, 0));
    SAY("%s %s name %u control %zu flags %x", back, back + 20, m.msg_namelen, m.msg_controllen, m.msg_flags);
    m.msg_iovlen = 5000;
    R(recvmsg(fd, &m, 0));
    R(recvmsg(fd, NULL, 0));
    R(recv(fd, back, 6, MSG_TRUNC | MSG_DONTWAIT));
    R(recv(fd, back, 6, MSG_DONTWAIT)); // the rest
    R(recv(fd, back, 10, MSG_DONTWAIT));
    ask(fd, "slow 6 30\n");
    R(recv(fd, back, 6, MSG_WAITALL));
    SAY("%.6s", back);
    ask(fd, "slow 6 30\n");
    v[0] = (struct iovec){back, 3};
    v[1] = (struct iovec){back + 100, 3};
    m = (struct msghdr){.msg_iov = v, .msg_iovlen = 2};
    R(recvmsg(fd, &m, MSG_WAITALL));
    SAY("%.3s %.3s", back, back + 100);
    SECTION("sending");
    R(send(fd, "echo 5\n", 7, MSG_NOSIGNAL));
    R(send(fd, "12345", 5, MSG_DONTWAIT));
    READ_ALL(fd, 5);
    R(sendto(fd, "echo 3\nxyz", 10, 0, NULL, 0));
    READ_ALL(fd, 3);
    R(sendto(fd, "echo 3\nxyz", 10, 0, (struct sockaddr *)&server, sizeof server));
    READ_ALL(fd, 3);
    struct iovec w[4] = {{"ech", 3}, {"o 7\n1", 5}, {NULL, 0}, {"234567", 6}};
    R(writev(fd, w, 4));
    READ_ALL(fd, 7);
    m = (struct msghdr){.msg_iov = w, .msg_iovlen = 4};
    R(sendmsg(fd, &m, 0));
    READ_ALL(fd, 7);
    R(send(fd, "echo 2\n", 7, MSG_MORE));
    R(send(fd, "mo", 2, 0));
    READ_ALL(fd, 2);
    R(send(fd, "", 0, 0));
    R(write(fd, "", 0));
    const int sizes[] = {1, 1000, 4096, 32768, 32769, 100000, 1 << 20};
    for (int i = 0; i < 7; ++i) {
        char command[30];
        int n = snprintf(command, sizeof command, "echo %d\n", sizes[i]);
        R(send(fd, command, (size_t)n, 0));
        pid_t child = fork(); // sends while this receives
        if (!child) {
            ssize_t sent = send(fd, data, (size_t)sizes[i], 0); // a socket that blocks sends it all
            _exit(sent == sizes[i] ? 0 : 1);
        }
        READ_ALL(fd, (size_t)sizes[i]);
        int status;
        waitpid(child, &status, 0);
        SAY("sent %d: %d, the same %d", sizes[i], status, !memcmp(data, back, (size_t)sizes[i]));
    }
    ask(fd, "give 1000000\n");
    R(recv(fd, back, 1000000, MSG_WAITALL));
    SAY("hash %x", hash(back, 1000000));
    SECTION("messages");
    struct mmsghdr mm[3];
    memset(mm, 0, sizeof mm);
    struct iovec a = {"echo 9\n", 7}, b = {"abcde", 5}, c = {"fghi", 4};
    mm[0].msg_hdr = (struct msghdr){.msg_iov = &a, .msg_iovlen = 1};
    mm[1].msg_hdr = (struct msghdr){.msg_iov = &b, .msg_iovlen = 1};
    mm[2].msg_hdr = (struct msghdr){.msg_iov = &c, .msg_iovlen = 1};
    R(sendmmsg(fd, mm, 3, 0));
    SAY("%u %u %u", mm[0].msg_len, mm[1].msg_len, mm[2].msg_len);
    READ_ALL(fd, 9);
    SECTION("timeout");
    struct timeval t = {0, 300000};
    R(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t));
    double start = now();
    R(recv(fd, back, 10, 0));
    double took = now() - start;
    SAY("in time %d", took > 0.25 && took < 3);
    R(read(fd, back, 10));
    t = (struct timeval){0, 0};
    R(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t));
    SECTION("out of band");
    ask(fd, "urgent\n");
    usleep(300000);
    R(recv(fd, back, 1, MSG_OOB));
    SAY("%c", back[0]);
    SECTION("flags changed");
    R(fcntl(fd, F_SETFL, O_NONBLOCK));
    R(read(fd, back, 10));
    R(recv(fd, back, 10, MSG_WAITALL));
    R(fcntl(fd, F_SETFL, 0));
    int one = 1;
    R(ioctl(fd, FIONBIO, &one));
    R(read(fd, back, 10));
    one = 0;
    R(ioctl(fd, FIONBIO, &one));
    // A peer that does not read: a socket that does not block sends a part, then nothing.
    int full = socket(AF_INET, SOCK_STREAM, 0);
    R(connect(full, (struct sockaddr *)&server, sizeof server));
    ask(full, "wait 60000\n");
    R(fcntl(full, F_SETFL, O_NONBLOCK));
    long total = 0, n = 0;
    while (total < (200l << 20) && (n = send(full, data, sizeof data, 0)) > 0) total += n;
    SAY("some %d, then %s", total > 0, n < 0 ? strerrorname_np(errno) : "all");
    R(close(full));
    R(close(fd));
}

// What cannot be stored stays in the queue.
void test_faults(void) {
    int fd = CONNECTED();
    ask(fd, "echo 26\nabcdefghijklmnopqrstuvwxyz");
    wait_readable(fd);
    usleep(200000);
    R(fcntl(fd, F_SETFL, O_NONBLOCK));
    R(recv(fd, NULL, 5, 0));
    R(read(fd, (void *)0x1000, 5));
    R(recvfrom(fd, (void *)0xffffffff81000000, 5, 0, NULL, NULL));
    char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(pages, 'p', 8192);
    mprotect(pages + 4096, 4096, PROT_READ);
    R(recv(fd, pages + 5000, 5, 0));
    R(recv(fd, back, 2, 0)); // the first ones
    SAY("%.2s", back);
    struct msghdr m = {.msg_iov = NULL, .msg_iovlen = 1};
    R(recvmsg(fd, &m, 0));
    struct iovec v[2] = {{NULL, 3}, {back, 3}};
    m.msg_iov = v;
    R(recvmsg(fd, &m, 0));
    R(readv(fd, v, 2));
    R(recv(fd, back, 2, 0));
    SAY("%.2s", back);
    R(send(fd, NULL, 5, 0));
    R(write(fd, (void *)0xffffffff81000000, 5));
    R(sendmsg(fd, NULL, 0));
    R(sendmsg(fd, &m, 0));
    R(close(fd));
    R(fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0));
    R(connect(fd, (struct sockaddr *)&server, sizeof server));
    R(send(fd, "datagram", 8, 0));
    wait_readable(fd);
    R(recvfrom(fd, back, 10, 0, (struct sockaddr *)8, NULL));
    R(send(fd, "datagram", 8, 0));
    wait_readable(fd);
    R(recv(fd, NULL, 10, MSG_PEEK));
    R(recv(fd, back, 10, 0));
    R(send(fd, NULL, 10, 0));
    R(close(fd));
}

// The queue of errors never blocks.
void test_errors(void) {
    int fd = CONNECTED();
    R(recv(fd, back, 1, MSG_ERRQUEUE | MSG_DONTWAIT));
    R(recv(fd, back, 1, MSG_ERRQUEUE));
    R(close(fd));
}

static volatile int pipes;
static void on_pipe(int signal) {
    (void)signal;
    ++pipes;
}

void test_ends(void) {
    int fd = CONNECTED();
    R(shutdown(fd, 77));
    ask(fd, "count\n");
    fill(data, 100000, 4);
    R(send(fd, data, 100000, 0));
    R(shutdown(fd, SHUT_WR));
    signal(SIGPIPE, on_pipe);
    R(send(fd, "x", 1, MSG_NOSIGNAL));
    SAY("signals %d", pipes);
    R(send(fd, "x", 1, 0));
    SAY("signals %d", pipes);
    R(write(fd, "x", 1));
    SAY("signals %d", pipes);
    READ_ALL(fd, 1000);
    SAY("%.*s", 6, back);
    R(read(fd, back, 10));
    R(recv(fd, back, 10, MSG_DONTWAIT));
    struct pollfd p = {fd, POLLIN | POLLOUT | POLLRDHUP, 0};
    R(poll(&p, 1, 1000));
    SAY("%x", p.revents);
    R(shutdown(fd, SHUT_RDWR) == 0 || errno == ENOTCONN);
    R(close(fd));
    fd = CONNECTED();
    ask(fd, "give 10\nshut\necho 5\n");
    R(recv(fd, back, 100, MSG_WAITALL));
    R(recv(fd, back, 100, 0));
    R(send(fd, "12345", 5, 0)); // the other direction is open
    R(close(fd));
    fd = CONNECTED();
    R(shutdown(fd, SHUT_RD));
    R(recv(fd, back, 10, 0));
    R(close(fd));
    fd = CONNECTED();
    ask(fd, "reset\n");
    usleep(300000);
    p = (struct pollfd){fd, POLLIN, 0};
    R(poll(&p, 1, 1000));
    SAY("%x", p.revents);
    R(read(fd, back, 10));
    R(read(fd, back, 10));
    pipes = 0;
    R(write(fd, "x", 1));
    SAY("signals %d", pipes);
    PEER(fd);
    R(close(fd));
    fd = CONNECTED();
    ask(fd, "reset\n");
    usleep(300000);
    OPTION(fd, SOL_SOCKET, SO_ERROR);
    OPTION(fd, SOL_SOCKET, SO_ERROR);
    R(read(fd, back, 10));
    R(close(fd));
    // A child's copy keeps the connection open.
    fd = CONNECTED();
    pid_t child = fork();
    if (!child) {
        usleep(200000);
        ask(fd, "echo 4\nkept");
        ssize_t n = recv(fd, back, 4, MSG_WAITALL);
        _exit(n == 4 && !memcmp(back, "kept", 4) ? 6 : 7);
    }
    R(close(fd));
    int status;
    waitpid(child, &status, 0);
    SAY("child %d", WEXITSTATUS(status));
    // A thread closes what another waits for; the other goes on waiting until something comes.
    fd = CONNECTED();
    int copy;
    R(copy = dup(fd));
    ask(fd, "echo 3\ndup");
    R(recv(copy, back, 3, MSG_WAITALL));
    R(close(fd));
    ask(copy, "echo 3\ndup");
    R(recv(copy, back, 3, MSG_WAITALL));
    R(dup2(copy, 0));
    ask(0, "echo 3\ndup");
    R(read(copy, back, 3));
    R(close(copy));
    R(close(0));
    SECTION("killed");
    child = fork();
    if (!child) {
        fd = CONNECTED();
        ask(fd, "wait 1000\n");
        read(fd, back, 1);
        _exit(0);
    }
    usleep(200000);
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    SAY("signal %d", WTERMSIG(status));
}
