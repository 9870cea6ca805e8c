// TCP and UDP as a client, each call with its result. The arguments are ADDRESS:PORT of echo.py, and a section. See ../calls.h.
// Left out as they may differ: addresses and ports of this side, sizes of buffers, how much of a stream one call gives, names of interfaces.
#include "network.h"

struct sockaddr_in server;
unsigned char data[2 << 20], back[2 << 20];

struct sockaddr_in at(int plus) {
    struct sockaddr_in a = server;
    a.sin_port = htons((uint16_t)(ntohs(server.sin_port) + plus));
    return a;
}

// Reads until there are `want` bytes or no more come.
void read_all(int line, int fd, size_t want) {
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

int connected_line(int line) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&server, sizeof server)) printf("%d connect %s\n", line, strerrorname_np(errno));
    return fd;
}

void ask(int fd, const char *command) {
    if (write(fd, command, strlen(command)) != (ssize_t)strlen(command)) SAY("ask: %s", strerrorname_np(errno));
}

void option(int line, int fd, int level, int name, const char *text) {
    int value = -1;
    socklen_t size = sizeof value;
    int result = getsockopt(fd, level, name, &value, &size);
    printf("%d %s %d", line, text, result);
    if (result) printf(" %s\n", strerrorname_np(errno));
    else printf(" = %d (%u)\n", value, size);
    fflush(stdout);
}

void peer(int line, int fd) {
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

void wait_readable(int fd) {
    struct pollfd p = {fd, POLLIN, 0};
    poll(&p, 1, 5000);
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
    } sections[] = {
        {"sockets", test_sockets},
        {"connect", test_connects},
        {"stream", test_streams},
        {"faults", test_faults},
        {"ends", test_ends},
        {"datagram", test_datagrams},
        {"errors", test_errors},
        {"sendfile", test_send_files},
    };
    for (size_t i = 0; i < sizeof sections / sizeof *sections; ++i)
        if (!strcmp(sections[i].name, argv[2])) {
            sections[i].run();
            puts("end");
            return 0;
        }
    return 2;
}
