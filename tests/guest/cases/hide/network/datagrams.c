// Datagrams, and files sent.
#include "network.h"
#include <sys/sendfile.h>

void test_datagrams(void) {
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
void test_send_files(void) {
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
