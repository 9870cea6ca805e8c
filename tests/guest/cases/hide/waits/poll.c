// poll.
#include "waits.h"

void test_polls(void) {
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
