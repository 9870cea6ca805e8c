// Waiting: poll, select, epoll, on sockets and files together with pipes and eventfds, and signals meanwhile. The arguments are
// DIRECTORY,ADDRESS:PORT, that of echo.py, and a section. See ../calls.h.
#include "waits.h"

struct sockaddr_in server;
static char directory[200];
char buffer[4096];
int later_pipe;
volatile int signals;

int connected(void) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&server, sizeof server)) SAY("connect %s", strerrorname_np(errno));
    return fd;
}

void ask(int fd, const char *command) {
    if (write(fd, command, strlen(command)) != (ssize_t)strlen(command)) SAY("ask: %s", strerrorname_np(errno));
}

int file(void) {
    char path[300];
    snprintf(path, sizeof path, "%s/file", directory);
    int fd = open(path, O_CREAT | O_RDWR, 0600);
    if (fd < 0) SAY("file %s", strerrorname_np(errno));
    return fd;
}

void show(int line, struct pollfd *p, int n) {
    printf("%d revents", line);
    for (int i = 0; i < n; ++i) printf(" %x", p[i].revents);
    putchar('\n');
    fflush(stdout);
}

void *later(void *ms) {
    usleep((useconds_t)(long)ms * 1000);
    write(later_pipe, "l", 1);
    return NULL;
}

void on_signal(int signal) {
    (void)signal;
    ++signals;
}

void handle(int number, int flags) {
    struct sigaction a = {.sa_handler = on_signal, .sa_flags = flags};
    sigaction(number, &a, NULL);
}

void after(long ms) {
    struct itimerval t = {{0, 0}, {ms / 1000, ms % 1000 * 1000}};
    setitimer(ITIMER_REAL, &t, NULL);
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
    } sections[] = {
        {"poll", test_polls},
        {"select", test_selects},
        {"select-alone", test_select_alone},
        {"epoll", test_epolls},
        {"epoll-threads", test_epoll_threads},
        {"prompt", test_prompt},
        {"interrupted", test_interrupted},
        {"handlers", test_handlers},
    };
    for (size_t i = 0; i < sizeof sections / sizeof *sections; ++i)
        if (!strcmp(sections[i].name, argv[2])) {
            sections[i].run();
            puts("end");
            return 0;
        }
    return 2;
}
