// Children, and descriptors that are passed between processes.
#include "inherit.h"

void forks(void) {
    int fd, pipe1[2], pipe2[2];
    char c;
    R(fd = open(in("f"), O_CREAT | O_RDWR | O_TRUNC, 0600));
    R(write(fd, "0123456789", 10));
    R(lseek(fd, 2, SEEK_SET));
    CHILD(R(lseek(fd, 0, SEEK_CUR)); R(read(fd, &c, 1)); R(lseek(fd, 3, SEEK_CUR)); R(close(fd)); R(read(fd, &c, 1)));
    R(lseek(fd, 0, SEEK_CUR)); // shared
    R(read(fd, &c, 1));
    SAY("%c", c);
    CHILD(R(write(fd, "child", 5)));
    R(write(fd, "parent", 6));
    TEXT(fd);
    CHILD(R(fcntl(fd, F_SETFL, O_APPEND)); R(fcntl(fd, F_SETFD, FD_CLOEXEC)));
    R(fcntl(fd, F_GETFL) & O_APPEND); // shared
    R(fcntl(fd, F_GETFD));            // not shared
    CHILD(R(dup2(fd, 20)); R(open(in("g"), O_CREAT | O_RDWR, 0600)));
    R(fcntl(20, F_GETFD));
    R(fcntl(fd + 1, F_GETFD));
    // Parent and child take turns; each closes and opens at the same numbers.
    R(pipe(pipe1));
    R(pipe(pipe2));
    pid_t child = fork();
    if (!child) {
        int other;
        read(pipe1[0], &c, 1);
        R(read(fd, &c, 1)); // the parent has closed its own
        R(other = open(in("g"), O_RDWR | O_TRUNC));
        R(write(other, "g", 1));
        write(pipe2[1], "x", 1);
        read(pipe1[0], &c, 1);
        TEXT(other);
        R(dup2(other, fd));
        TEXT(fd);
        write(pipe2[1], "x", 1);
        _exit(0);
    }
    R(close(fd));
    write(pipe1[1], "x", 1);
    read(pipe2[0], &c, 1);
    R(fd = open(in("h"), O_CREAT | O_RDWR | O_TRUNC, 0600));
    R(write(fd, "h", 1));
    write(pipe1[1], "x", 1);
    read(pipe2[0], &c, 1);
    TEXT(fd);
    AWAIT(child);
    FILE_TEXT(in("g"));
    // Grandchildren, and a parent that is gone.
    CHILD(pid_t grandchild = fork(); if (!grandchild) {
        while (getppid() != 1) usleep(1000);
        write(fd, "orphan", 6);
        close(fd);
        write(pipe2[1], "x", 1);
        _exit(0);
    });
    read(pipe2[0], &c, 1);
    TEXT(fd);
    // Killed while it has files open.
    child = fork();
    if (!child) {
        for (int i = 0; i < 50; ++i) open(in("h"), O_RDWR);
        write(pipe2[1], "x", 1);
        for (;;) pwrite(fd, "h", 1, 0);
    }
    read(pipe2[0], &c, 1);
    usleep(20000);
    kill(child, SIGKILL);
    AWAIT(child);
    R(write(fd, "+", 1));
    TEXT(fd);
    // The working directory and the umask.
    R(mkdir(in("d"), 0755));
    R(chdir(in("d")));
    CHILD(R(close(open("by-child", O_CREAT | O_RDWR, 0666))); R(chdir(".")); R(umask(077)); R(access("by-child", F_OK)));
    R(access("by-child", F_OK));
    R(umask(022));
    R(unlink("by-child"));
    // Many children at once, all with the same descriptor.
    R(fd = open(in("many"), O_CREAT | O_RDWR | O_TRUNC | O_APPEND, 0600));
    for (int i = 0; i < 20; ++i) {
        if (!fork()) {
            for (int j = 0; j < 50; ++j)
                if (write(fd, "12345678", 8) != 8) _exit(1);
            _exit(0);
        }
    }
    int good = 0, status;
    while (wait(&status) > 0) good += status == 0;
    SAY("good %d size %ld", good, (long)lseek(fd, 0, SEEK_END));
    // Without O_APPEND the offset is shared all the same.
    R(fd = open(in("many"), O_RDWR | O_TRUNC));
    for (int i = 0; i < 5; ++i) {
        if (!fork()) {
            for (int j = 0; j < 50; ++j)
                if (write(fd, "12345678", 8) != 8) _exit(1);
            _exit(0);
        }
    }
    while (wait(&status) > 0) good += status == 0;
    SAY("good %d size %ld offset %ld", good, (long)lseek(fd, 0, SEEK_END), (long)lseek(fd, 0, SEEK_CUR));
}

void passing(void) { // a descriptor through a UNIX socket, between processes of the program
    int pair[2], fd;
    R(fd = open(in("p"), O_CREAT | O_RDWR | O_TRUNC, 0600));
    R(write(fd, "passed", 6));
    R(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    char byte = 'x', control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec v = {&byte, 1};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    h->cmsg_level = SOL_SOCKET;
    h->cmsg_type = SCM_RIGHTS;
    h->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(h), &fd, sizeof fd);
    R(sendmsg(pair[0], &m, MSG_DONTWAIT));
    R(close(fd));
    CHILD(m.msg_controllen = sizeof control; memset(control, 0, sizeof control); R(recvmsg(pair[1], &m, MSG_DONTWAIT)); h = CMSG_FIRSTHDR(&m);
          int got = -1; if (h) memcpy(&got, CMSG_DATA(h), sizeof got); R(got); TEXT(got));
    int pidfd;
    OK(pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0));
    R(fd = open(in("p"), O_RDONLY));
    R(fd = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0));
    TEXT(fd);
}
