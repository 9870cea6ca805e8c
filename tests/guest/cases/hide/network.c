// TCP and UDP as a client, each call with its result. The argument is ADDRESS:PORT of echo.py. See calls.h.
// Left out as they may differ: addresses and ports of this side, sizes of buffers, how much of a stream one call gives, names of interfaces.
#include "calls.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/sendfile.h>

static struct sockaddr_in server;
static unsigned char data[2 << 20], back[2 << 20];

static struct sockaddr_in at(int plus) {
    struct sockaddr_in a = server;
    a.sin_port = htons((uint16_t)(ntohs(server.sin_port) + plus));
    return a;
}

// Reads until there are `want` bytes or no more come.
static void read_all(int line, int fd, size_t want) {
    size_t n = 0;
    long last = 1;
    while (n < want) {
        last = read(fd, back + n, want - n);
        if (last <= 0) break;
        n += (size_t)last;
    }
    printf("%d got %zu hash %x%s%s\n", line, n, hash(back, n), last == 0 ? " end" : "", last < 0 ? strerrorname_np(errno) : "");
    fflush(stdout);
}
#define READ_ALL(fd, want) read_all(__LINE__, fd, want)

static int connected_line(int line) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&server, sizeof server)) printf("%d connect %s\n", line, strerrorname_np(errno));
    return fd;
}
#define CONNECTED() connected_line(__LINE__)

static void ask(int fd, const char *command) {
    if (write(fd, command, strlen(command)) != (ssize_t)strlen(command)) SAY("ask: %s", strerrorname_np(errno));
}

static void option(int line, int fd, int level, int name, const char *text) {
    int value = -1;
    socklen_t size = sizeof value;
    int result = getsockopt(fd, level, name, &value, &size);
    printf("%d %s %d", line, text, result);
    if (result) printf(" %s\n", strerrorname_np(errno));
    else printf(" = %d (%u)\n", value, size);
    fflush(stdout);
}
#define OPTION(fd, level, name) option(__LINE__, fd, level, name, #name)

static void peer(int line, int fd) {
    struct sockaddr_storage s;
    struct sockaddr_in *a = (struct sockaddr_in *)&s;
    memset(&s, 0, sizeof s);
    socklen_t size = sizeof s;
    int result = getsockname(fd, (struct sockaddr *)&s, &size);
    if (result) printf("%d getsockname %s\n", line, strerrorname_np(errno));
    else printf("%d getsockname family %d size %u port %s address %s\n", line, a->sin_family, size, a->sin_port ? "some" : "none", a->sin_addr.s_addr ? "some" : "none");
    size = sizeof s;
    memset(&s, 0, sizeof s);
    result = getpeername(fd, (struct sockaddr *)&s, &size);
    if (result) printf("%d getpeername %s\n", line, strerrorname_np(errno));
    else printf("%d getpeername family %d size %u the server %d\n", line, a->sin_family, size, a->sin_addr.s_addr == server.sin_addr.s_addr);
    fflush(stdout);
}
#define PEER(fd) peer(__LINE__, fd)

static void wait_readable(int fd) {
    struct pollfd p = {fd, POLLIN, 0};
    poll(&p, 1, 5000);
}

static void sockets(void) {
    int fd, fd2;
    R(fd = socket(AF_INET, SOCK_STREAM, 0));
    R(fcntl(fd, F_GETFL));
    R(fcntl(fd, F_GETFD));
    OPTION(fd, SOL_SOCKET, SO_TYPE);
    OPTION(fd, SOL_SOCKET, SO_DOMAIN);
    OPTION(fd, SOL_SOCKET, SO_PROTOCOL);
    OPTION(fd, SOL_SOCKET, SO_ERROR);
    OPTION(fd, SOL_SOCKET, SO_ACCEPTCONN);
    OPTION(fd, SOL_SOCKET, SO_REUSEADDR);
    OPTION(fd, SOL_SOCKET, SO_KEEPALIVE);
    OPTION(fd, SOL_SOCKET, SO_BROADCAST);
    OPTION(fd, IPPROTO_TCP, TCP_NODELAY);
    OPTION(fd, IPPROTO_IP, IP_TTL);
    OPTION(fd, SOL_SOCKET, 9999);
    OPTION(fd, 9999, 1);
    OPTION(99, SOL_SOCKET, SO_TYPE);
    int one = 1;
    R(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one));
    OPTION(fd, SOL_SOCKET, SO_KEEPALIVE);
    R(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one));
    OPTION(fd, SOL_SOCKET, SO_REUSEADDR);
    R(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one));
    OPTION(fd, IPPROTO_TCP, TCP_NODELAY);
    R(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, NULL, sizeof one));
    R(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, 1));
    R(setsockopt(fd, SOL_SOCKET, 9999, &one, sizeof one));
    struct timeval t = {1, 500000};
    socklen_t size = sizeof t;
    R(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t));
    memset(&t, 0, sizeof t);
    R(getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, &size));
    SAY("%ld %ld %u", (long)t.tv_sec, (long)t.tv_usec, size);
    struct linger l = {1, 7};
    R(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l));
    memset(&l, 0, sizeof l);
    size = sizeof l;
    R(getsockopt(fd, SOL_SOCKET, SO_LINGER, &l, &size));
    SAY("%d %d", l.l_onoff, l.l_linger);
    R(getsockopt(fd, SOL_SOCKET, SO_TYPE, NULL, &size));
    R(getsockopt(fd, SOL_SOCKET, SO_TYPE, &one, NULL));
    size = 2;
    one = 0;
    R(getsockopt(fd, SOL_SOCKET, SO_TYPE, &one, &size));
    SAY("%d %u", one, size);
    PEER(fd);
    R(read(fd, back, 10));
    signal(SIGPIPE, SIG_IGN);
    R(write(fd, back, 10));
    R(send(fd, back, 10, 0));
    R(recv(fd, back, 10, 0));
    R(shutdown(fd, SHUT_WR));
    R(lseek(fd, 0, SEEK_SET));
    R(pread(fd, back, 1, 0));
    R(ftruncate(fd, 0));
    R(fsync(fd));
    struct stat st;
    R(fstat(fd, &st));
    SAY("mode %o size %ld", st.st_mode & S_IFMT, (long)st.st_size);
    R(fd2 = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
    R(fcntl(fd2, F_GETFL));
    R(fcntl(fd2, F_GETFD));
    R(close(fd));
    R(fd = socket(AF_INET, SOCK_DGRAM, IPPROTO_UDP));
    OPTION(fd, SOL_SOCKET, SO_TYPE);
    OPTION(fd, SOL_SOCKET, SO_PROTOCOL);
    R(getsockname(fd, NULL, &size));
    R(getsockname(99, (struct sockaddr *)back, &size));
    R(getsockname(1, (struct sockaddr *)back, &size));
    R(close(fd));
    R(close(fd2));
    R(close(fd2));
    R(socket(AF_INET, 99, 0));
    R(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP));
    R(socket(AF_INET, SOCK_DGRAM, IPPROTO_TCP));
    R(socket(99, SOCK_STREAM, 0));
    R(fd = socket(AF_UNIX, SOCK_STREAM, 0)); // stays in the guest
    R(close(fd));
    int pair[2];
    R(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    R(write(pair[0], "pair", 4));
    R(read(pair[1], back, 10));
    R(send(1, "x", 1, 0));
    R(connect(1, (struct sockaddr *)&server, sizeof server));
    R(send(99, "x", 1, 0));
    R(connect(99, (struct sockaddr *)&server, sizeof server));
}

static void connects(void) {
    int fd;
    struct sockaddr_in closed = at(2), bad = server;
    R(fd = socket(AF_INET, SOCK_STREAM, 0));
    R(connect(fd, (struct sockaddr *)&server, 4));
    R(connect(fd, NULL, sizeof server));
    R(connect(fd, (struct sockaddr *)&server, 5000));
    bad.sin_family = 77;
    R(connect(fd, (struct sockaddr *)&bad, sizeof bad));
    R(connect(fd, (struct sockaddr *)&server, sizeof server));
    R(connect(fd, (struct sockaddr *)&server, sizeof server));
    PEER(fd);
    ask(fd, "echo 5\n12345");
    READ_ALL(fd, 5);
    OPTION(fd, SOL_SOCKET, SO_ERROR);
    struct sockaddr_storage s;
    socklen_t size = 4; // truncated
    memset(&s, 0, sizeof s);
    R(getpeername(fd, (struct sockaddr *)&s, &size));
    SAY("size %u family %d", size, s.ss_family);
    size = (socklen_t)-1;
    R(getpeername(fd, (struct sockaddr *)&s, &size));
    size = sizeof s;
    R(getpeername(fd, NULL, &size));
    R(getpeername(fd, (struct sockaddr *)&s, NULL));
    R(close(fd));
    R(fd = socket(AF_INET, SOCK_STREAM, 0));
    R(connect(fd, (struct sockaddr *)&closed, sizeof closed));
    OPTION(fd, SOL_SOCKET, SO_ERROR); // it was told already
    R(close(fd));
    SECTION("without blocking");
    R(fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    R(connect(fd, (struct sockaddr *)&server, sizeof server));
    struct pollfd p = {fd, POLLOUT, 0};
    R(poll(&p, 1, 5000));
    SAY("%x", p.revents);
    OPTION(fd, SOL_SOCKET, SO_ERROR);
    R(connect(fd, (struct sockaddr *)&server, sizeof server) == 0 || errno == EISCONN);
    R(recv(fd, back, 10, 0));
    R(read(fd, back, 10));
    ask(fd, "echo 3\nabc");
    p.events = POLLIN;
    R(poll(&p, 1, 5000));
    SAY("%x", p.revents);
    R(read(fd, back, 10));
    R(close(fd));
    R(fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    R(connect(fd, (struct sockaddr *)&closed, sizeof closed));
    p = (struct pollfd){fd, POLLOUT, 0};
    R(poll(&p, 1, 5000));
    SAY("%x", p.revents);
    OPTION(fd, SOL_SOCKET, SO_ERROR);
    OPTION(fd, SOL_SOCKET, SO_ERROR);
    R(close(fd));
    SECTION("bound");
    struct sockaddr_in any = {.sin_family = AF_INET};
    R(fd = socket(AF_INET, SOCK_STREAM, 0));
    R(bind(fd, (struct sockaddr *)&any, sizeof any));
    R(bind(fd, (struct sockaddr *)&any, sizeof any));
    PEER(fd);
    R(connect(fd, (struct sockaddr *)&server, sizeof server));
    ask(fd, "echo 3\nabc");
    READ_ALL(fd, 3);
    R(close(fd));
    R(fd = socket(AF_INET, SOCK_STREAM, 0));
    any.sin_addr.s_addr = htonl(0x08080808);
    R(bind(fd, (struct sockaddr *)&any, sizeof any));
    R(bind(fd, (struct sockaddr *)&any, 3));
    R(accept(fd, NULL, NULL));
    R(close(fd));
    SECTION("many at once");
    int many[40], good = 0;
    for (int i = 0; i < 40; ++i) many[i] = CONNECTED();
    for (int i = 0; i < 40; ++i) ask(many[i], "echo 4\nmany");
    for (int i = 0; i < 40; ++i) good += recv(many[i], back, 4, MSG_WAITALL) == 4;
    SAY("good %d", good);
    for (int i = 0; i < 40; ++i) good -= close(many[i]) == 0;
    SAY("left %d", good);
}

static void streams(void) {
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
static void faults(void) {
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
static void errors(void) {
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

static void ends(void) {
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

static void datagrams(void) {
    int fd;
    R(fd = socket(AF_INET, SOCK_DGRAM, 0));
    PEER(fd);
    R(send(fd, "x", 1, 0));
    R(recv(fd, back, 10, MSG_DONTWAIT));
    R(sendto(fd, "hello", 5, 0, (struct sockaddr *)&server, sizeof server));
    wait_readable(fd);
    struct sockaddr_in from;
    socklen_t size = sizeof from;
    memset(&from, 0, sizeof from);
    memset(back, 0, 100);
    R(recvfrom(fd, back, 100, 0, (struct sockaddr *)&from, &size));
    SAY("%s from the server %d %d size %u", back, from.sin_addr.s_addr == server.sin_addr.s_addr, from.sin_port == server.sin_port, size);
    R(sendto(fd, "truncated", 9, 0, (struct sockaddr *)&server, sizeof server));
    wait_readable(fd);
    memset(back, 0, 100);
    R(recv(fd, back, 4, MSG_PEEK));
    R(recv(fd, back, 4, MSG_PEEK | MSG_TRUNC));
    int left;
    R(ioctl(fd, FIONREAD, &left));
    SAY("left %d", left);
    struct iovec v[2] = {{back, 2}, {back + 10, 3}};
    struct msghdr m = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = v, .msg_iovlen = 2};
    R(recvmsg(fd, &m, 0));
    SAY("%.2s %.3s flags %x name %u", back, back + 10, m.msg_flags, m.msg_namelen);
    R(recv(fd, back, 100, MSG_DONTWAIT)); // the rest is gone
    R(sendto(fd, "", 0, 0, (struct sockaddr *)&server, sizeof server));
    wait_readable(fd);
    R(recv(fd, back, 100, 0));
    R(sendto(fd, "x", 1, 0, (struct sockaddr *)&server, 3));
    R(sendto(fd, NULL, 1, 0, (struct sockaddr *)&server, sizeof server));
    R(sendto(fd, "x", 1, 0, (struct sockaddr *)8, sizeof server));
    R(sendto(fd, data, 65508, 0, (struct sockaddr *)&server, sizeof server));
    struct sockaddr_in none = server;
    none.sin_port = 0;
    R(sendto(fd, "x", 1, 0, (struct sockaddr *)&none, sizeof none));
    fill(data, 1400, 6);
    for (int n = 1; n <= 1400; n = n * 3 + 2) {
        R(sendto(fd, data, (size_t)n, 0, (struct sockaddr *)&server, sizeof server));
        wait_readable(fd);
        memset(back, 0, 1500);
        R(recv(fd, back, 1500, 0));
        SAY("hash %x", hash(back, 1500));
    }
    SECTION("connected");
    R(connect(fd, (struct sockaddr *)&server, sizeof server));
    PEER(fd);
    R(send(fd, "one", 3, 0));
    wait_readable(fd);
    R(read(fd, back, 100));
    R(write(fd, "two", 3));
    wait_readable(fd);
    R(read(fd, back, 2));
    R(recv(fd, back, 2, MSG_DONTWAIT));
    R(sendto(fd, "x", 1, 0, NULL, 0));
    wait_readable(fd);
    size = 4; // truncated
    R(recvfrom(fd, back, 10, 0, (struct sockaddr *)&from, &size));
    SAY("size %u", size);
    R(send(fd, "three", 5, 0));
    wait_readable(fd);
    usleep(300000);
    static struct mmsghdr mm[5];
    static struct iovec w[5];
    for (int i = 0; i < 5; ++i) {
        w[i] = (struct iovec){back + 100 * i, 100};
        mm[i].msg_hdr = (struct msghdr){.msg_iov = &w[i], .msg_iovlen = 1};
    }
    R(recvmmsg(fd, mm, 5, MSG_DONTWAIT, NULL));
    SAY("%u %u %u", mm[0].msg_len, mm[1].msg_len, mm[2].msg_len);
    R(recvmmsg(fd, mm, 5, MSG_DONTWAIT, NULL));
    w[0] = (struct iovec){"first", 5};
    w[1] = (struct iovec){"second!", 7};
    w[2] = (struct iovec){"", 0};
    R(sendmmsg(fd, mm, 3, 0));
    SAY("%u %u %u", mm[0].msg_len, mm[1].msg_len, mm[2].msg_len);
    usleep(300000);
    for (int i = 0; i < 5; ++i) w[i] = (struct iovec){back + 100 * i, 100};
    R(recvmmsg(fd, mm, 2, MSG_WAITFORONE, NULL));
    SAY("%u %u", mm[0].msg_len, mm[1].msg_len);
    struct timespec limit = {0, 200000000};
    R(recvmmsg(fd, mm, 1, 0, &limit));
    R(recvmmsg(fd, mm, 0, 0, NULL));
    struct timeval t = {0, 200000};
    R(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t));
    R(recv(fd, back, 10, 0));
    struct sockaddr gone = {.sa_family = AF_UNSPEC};
    R(connect(fd, &gone, sizeof gone));
    R(send(fd, "x", 1, 0));
    R(getpeername(fd, (struct sockaddr *)&from, &size));
    R(shutdown(fd, SHUT_WR));
    R(listen(fd, 5));
    R(accept(fd, NULL, NULL));
    R(close(fd));
}

// From a file that is nobody's secret, and one that is the hidden program's.
static void send_files(void) {
    static const char *const paths[] = {"/root/for-network", "/srv/hidden/for-network"};
    for (int i = 0; i < 2; ++i) {
        fill(data, 300000, (uint32_t)i);
        int file, fd = CONNECTED();
        R(file = open(paths[i], O_CREAT | O_RDWR | O_TRUNC, 0600));
        R(write(file, data, 300000));
        ask(fd, "echo 250000\n");
        fflush(stdout);
        pid_t child = fork();
        if (!child) {
            off_t at = 50000;
            while (at < 300000 && sendfile(fd, file, &at, 200000) > 0)
                ;
            _exit(at == 300000 && lseek(file, 0, SEEK_CUR) == 300000 ? 0 : 1);
        }
        READ_ALL(fd, 250000);
        int status;
        waitpid(child, &status, 0);
        SAY("sender %d", status);
        SAY("hash %x", hash(data + 50000, 250000));
        R(lseek(file, 299990, SEEK_SET));
        ask(fd, "echo 10\n");
        R(sendfile(fd, file, NULL, 1000));
        READ_ALL(fd, 10);
        R(sendfile(fd, file, NULL, 1000));
        R(sendfile(file, fd, NULL, 10));
        off_t at = 0;
        R(sendfile(file, fd, &at, 10));
        // No more than there is room for.
        int full = socket(AF_INET, SOCK_STREAM, 0);
        R(connect(full, (struct sockaddr *)&server, sizeof server));
        ask(full, "wait 100000\n");
        R(fcntl(full, F_SETFL, O_NONBLOCK));
        long n;
        do at = 0;
        while ((n = sendfile(full, file, &at, 300000)) > 0);
        SAY("%ld %s at %ld", n, strerrorname_np(errno), (long)at);
        R(close(full));
        R(shutdown(fd, SHUT_WR));
        signal(SIGPIPE, SIG_IGN);
        at = 3;
        R(sendfile(fd, file, &at, 10));
        SAY("at %ld", (long)at);
        R(close(fd));
        R(close(file));
        R(unlink(paths[i]));
    }
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    char address[100];
    int port;
    if (argc < 3 || sscanf(argv[1], "%99[^:]:%d", address, &port) != 2) return 2;
    server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, address, &server.sin_addr);
    const struct {
        const char *name;
        void (*run)(void);
    } sections[] = {{"sockets", sockets}, {"connect", connects}, {"stream", streams}, {"faults", faults}, {"ends", ends}, {"datagram", datagrams}, {"errors", errors}, {"sendfile", send_files}};
    for (size_t i = 0; i < sizeof sections / sizeof *sections; ++i)
        if (!strcmp(sections[i].name, argv[2])) {
            sections[i].run();
            puts("end");
            return 0;
        }
    return 2;
}
