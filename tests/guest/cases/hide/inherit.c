// Descriptors, offsets and working directories of children, threads and programs that were started. See calls.h.
// Left out: what a descriptor of a hidden file is to another program that is not hidden.
#include "calls.h"
#include <linux/sched.h>
#include <spawn.h>

extern char **environ;
static const char *top;
static char program[PATH_MAX];
static char names[8][512];
static int next_name;

static const char *in(const char *name) {
    char *path = names[next_name++ % 8];
    snprintf(path, sizeof names[0], "%s/%s", top, name);
    return path;
}

static void text(int line, int fd) {
    char buffer[256];
    ssize_t n = pread(fd, buffer, sizeof buffer, 0);
    printf("%d text %zd %.*s\n", line, n, n > 0 ? (int)n : 0, buffer);
    fflush(stdout);
}
#define TEXT(fd) text(__LINE__, fd)

static void file_text(int line, const char *path) {
    int fd = open(path, O_RDONLY);
    if (fd < 0) printf("%d no text: %s\n", line, strerrorname_np(errno));
    else text(line, fd), close(fd);
    fflush(stdout);
}
#define FILE_TEXT(path) file_text(__LINE__, path)

static void await(int line, pid_t pid) {
    int status = 0;
    pid_t got = waitpid(pid, &status, 0);
    printf("%d child %s: %s %d\n", line, got == pid ? "ended" : "lost", WIFEXITED(status) ? "exit" : "signal",
           WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
    fflush(stdout);
}
#define AWAIT(pid) await(__LINE__, pid)
#define CHILD(...)                                                             \
    do {                                                                       \
        pid_t child_ = fork();                                                 \
        if (!child_) {                                                         \
            __VA_ARGS__;                                                       \
            fflush(stdout);                                                    \
            _exit(5);                                                          \
        }                                                                      \
        AWAIT(child_);                                                         \
    } while (0)

static void forks(void) {
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

static void started(int fd, const char *what) { // in the program that was executed
    SAY("started: %s", what);
    char c;
    R(fcntl(fd, F_GETFD));
    R(lseek(fd, 0, SEEK_CUR));
    R(read(fd, &c, 1));
    R(write(fd, "E", 1));
    int next;
    R(next = open(in("f"), O_RDONLY));
    R(close(next));
    R(access("relative", F_OK));
    FILE_TEXT(in("f"));
}

static char *const *arguments(int fd, const char *what) {
    static char number[20];
    static char *list[6];
    snprintf(number, sizeof number, "%d", fd);
    list[0] = program;
    list[1] = (char *)top;
    list[2] = "started";
    list[3] = number;
    list[4] = (char *)what;
    return list;
}

static void execs(void) {
    int fd, closing;
    R(fd = open(in("f"), O_CREAT | O_RDWR | O_TRUNC, 0600));
    R(write(fd, "0123456789", 10));
    R(lseek(fd, 2, SEEK_SET));
    R(closing = open(in("f"), O_RDWR | O_CLOEXEC));
    R(close(open(in("relative"), O_CREAT | O_RDWR, 0600)));
    R(chdir(top));
    CHILD(execv(program, arguments(fd, "fork")));
    R(lseek(fd, 0, SEEK_CUR));
    CHILD(execv(program, arguments(closing, "close on exec")));
    R(lseek(closing, 0, SEEK_CUR)); // still there
    pid_t child = vfork();
    if (!child) {
        execv(program, arguments(fd, "vfork"));
        _exit(9);
    }
    AWAIT(child);
    R(lseek(fd, 0, SEEK_CUR));
    child = vfork();
    if (!child) {
        execv(program, arguments(closing, "vfork, close on exec"));
        _exit(9);
    }
    AWAIT(child);
    child = vfork();
    if (!child) {
        close(fd);
        dup2(closing, 30);
        execv(program, arguments(30, "vfork, dup2"));
        _exit(9);
    }
    AWAIT(child);
    R(fcntl(fd, F_GETFD)); // vfork does not share the table
    R(fcntl(30, F_GETFD));
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fd, 31);
    posix_spawn_file_actions_addclose(&actions, fd);
    posix_spawn_file_actions_addopen(&actions, 32, in("f"), O_RDONLY, 0);
    int result = posix_spawn(&child, program, &actions, NULL, arguments(31, "posix_spawn"), environ);
    AWAIT(child);
    R(result);
    result = posix_spawn(&child, program, &actions, NULL, arguments(32, "posix_spawn, opened"), environ);
    AWAIT(child);
    R(result);
    // An exec that fails closes nothing.
    CHILD(R(execv("/none", arguments(fd, ""))); R(lseek(closing, 0, SEEK_CUR)); R(execv(in("relative"), arguments(fd, ""))));
    R(execv(in("none"), arguments(fd, "")));
    // As its standard output and input.
    int out;
    R(out = open(in("out"), O_CREAT | O_RDWR, 0600));
    CHILD(dup2(out, 1); dup2(closing, 0); execv(program, arguments(0, "standard output")));
    char buffer[4096];
    ssize_t n;
    R(n = pread(out, buffer, sizeof buffer, 0));
    if (n > 0) SAY("%.*s", (int)n, buffer);
    R(close(out));
    // With threads.
    char number[20];
    snprintf(number, sizeof number, "%d", fd);
    CHILD(execl(program, program, top, "exec-from-thread", number, NULL));
    // The program once more in the same process.
    execv(program, arguments(fd, "same process"));
    SAY("not executed");
}

static int shared_fd, shared_result;
static pthread_barrier_t barrier;

static void *thread(void *) {
    char c;
    pthread_barrier_wait(&barrier); // 1
    pthread_barrier_wait(&barrier); // 2: the main thread opened
    shared_result = (int)read(shared_fd, &c, 1);
    pthread_barrier_wait(&barrier); // 3
    close(shared_fd);
    pthread_barrier_wait(&barrier); // 4
    pthread_barrier_wait(&barrier); // 5
    shared_fd = open(in("t2"), O_CREAT | O_RDWR, 0600);
    pthread_barrier_wait(&barrier); // 6
    return NULL;
}

static void *busy(void *argument) {
    char path[600], buffer[100], back[100];
    long number = (long)argument;
    snprintf(path, sizeof path, "%s/busy%ld", top, number);
    for (int i = 0; i < 100; ++i) {
        int fd = open(path, O_CREAT | O_RDWR | O_TRUNC, 0600);
        memset(buffer, 'a' + i % 20 + (int)number, sizeof buffer);
        if (fd < 0 || write(fd, buffer, sizeof buffer) != sizeof buffer) return (void *)1;
        if (pread(fd, back, sizeof back, 0) != sizeof back || memcmp(buffer, back, sizeof back)) return (void *)2;
        if (close(fd)) return (void *)3;
    }
    return NULL;
}

static void threads(void) {
    pthread_t t;
    pthread_barrier_init(&barrier, NULL, 2);
    R(pthread_create(&t, NULL, thread, NULL));
    pthread_barrier_wait(&barrier); // 1
    R(shared_fd = open(in("t"), O_CREAT | O_RDWR | O_TRUNC, 0600));
    R(write(shared_fd, "abc", 3));
    R(lseek(shared_fd, 1, SEEK_SET));
    pthread_barrier_wait(&barrier); // 2
    pthread_barrier_wait(&barrier); // 3
    SAY("thread read %d", shared_result);
    pthread_barrier_wait(&barrier); // 4
    R(lseek(shared_fd, 0, SEEK_CUR)); // closed by the thread
    pthread_barrier_wait(&barrier); // 5
    pthread_barrier_wait(&barrier); // 6
    SAY("thread opened %d", shared_fd);
    R(write(shared_fd, "x", 1));
    R(pthread_join(t, NULL));
    R(write(shared_fd, "y", 1));
    TEXT(shared_fd);
    R(close(shared_fd));
    pthread_t many[8];
    for (long i = 0; i < 8; ++i) pthread_create(&many[i], NULL, busy, (void *)i);
    for (int i = 0; i < 8; ++i) {
        void *result;
        pthread_join(many[i], &result);
        SAY("busy %d %ld", i, (long)result);
    }
    R(open(in("t"), O_RDONLY)); // the lowest number
}

static int cloned(void *) {
    shared_result = open(in("c2"), O_CREAT | O_RDWR, 0600);
    write(shared_fd, "child", 5);
    close(shared_fd);
    _exit(3);
}

static void clones(void) {
    static char stack[65536] __attribute__((aligned(16)));
    char c;
    R(shared_fd = open(in("c"), O_CREAT | O_RDWR | O_TRUNC, 0600));
    fflush(stdout);
    // A process of its own with the same table.
    pid_t child;
    child = clone(cloned, stack + sizeof stack, CLONE_FILES | CLONE_VM | SIGCHLD, NULL);
    AWAIT(child);
    R(shared_result); // the number it got
    R(fcntl(shared_result, F_GETFD));
    R(lseek(shared_fd, 0, SEEK_CUR));
    R(close(shared_result));
    R(shared_fd = open(in("c"), O_RDWR));
    fflush(stdout);
    child = clone(cloned, stack + sizeof stack, CLONE_FILES | SIGCHLD, NULL); // without its memory
    AWAIT(child);
    R(lseek(shared_fd, 0, SEEK_CUR));
    R(fcntl(4, F_GETFD));
    R(close(4));
    R(shared_fd = open(in("c"), O_RDWR));
    fflush(stdout);
    child = clone(cloned, stack + sizeof stack, SIGCHLD, NULL); // with a copy
    AWAIT(child);
    R(lseek(shared_fd, 0, SEEK_CUR));
    R(fcntl(4, F_GETFD));
    // clone3
    struct clone_args a = {.flags = CLONE_FILES, .exit_signal = SIGCHLD};
    fflush(stdout);
    child = (pid_t)syscall(SYS_clone3, &a, sizeof a);
    if (!child) {
        close(shared_fd);
        _exit(4);
    }
    AWAIT(child);
    R(lseek(shared_fd, 0, SEEK_CUR));
    R(shared_fd = open(in("c"), O_RDWR));
    a.flags = CLONE_FILES | CLONE_CLEAR_SIGHAND;
    R(read(shared_fd, &c, 1));
}

static void *unsharing(void *) {
    char c;
    pthread_barrier_wait(&barrier); // 1
    R(unshare(CLONE_FILES));
    R(read(shared_fd, &c, 1)); // its copy
    R(close(shared_fd));
    R(open(in("u2"), O_CREAT | O_RDWR, 0600));
    R(open(in("u2"), O_CREAT | O_RDWR, 0600));
    pthread_barrier_wait(&barrier); // 2
    pthread_barrier_wait(&barrier); // 3
    R(fcntl(shared_fd + 2, F_GETFD));
    return NULL;
}

static void unshares(void) {
    pthread_t t;
    pthread_barrier_init(&barrier, NULL, 2);
    R(shared_fd = open(in("u"), O_CREAT | O_RDWR | O_TRUNC, 0600));
    R(write(shared_fd, "abc", 3));
    R(lseek(shared_fd, 0, SEEK_SET));
    R(pthread_create(&t, NULL, unsharing, NULL));
    pthread_barrier_wait(&barrier); // 1
    pthread_barrier_wait(&barrier); // 2
    R(lseek(shared_fd, 0, SEEK_CUR)); // the offset is shared, the table is not
    R(fcntl(shared_fd + 1, F_GETFD));
    R(dup2(shared_fd, shared_fd + 2));
    pthread_barrier_wait(&barrier); // 3
    R(pthread_join(t, NULL));
    TEXT(shared_fd);
    R(unshare(CLONE_FILES));
    TEXT(shared_fd);
    R(mkdir(in("ud"), 0700));
    R(unshare(CLONE_FS));
    R(chdir(in("ud")));
    R(access("../u", F_OK));
}

static void passing(void) { // a descriptor through a UNIX socket, between processes of the program
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

static void *pausing(void *nothing) {
    for (;;) pause();
    return nothing;
}

static void *exec_thread(void *argument) {
    char *list[] = {program, (char *)top, "started", argument, "from a thread", NULL};
    execv(program, list);
    return NULL;
}

// Programs that a service with `children = true` starts are hidden like itself.
static void family(void) {
    int fd;
    R(fd = open(in("f"), O_CREAT | O_RDWR | O_TRUNC, 0644));
    R(write(fd, "for the family\n", 15));
    R(lseek(fd, 0, SEEK_SET));
    R(chdir(top));
    char command[3000];
    CHILD(execl("/bin/cat", "cat", in("f"), NULL));
    CHILD(execl("/bin/cat", "cat", "f", NULL));
    CHILD(dup2(fd, 0); execl("/bin/cat", "cat", NULL));
    R(lseek(fd, 0, SEEK_CUR));
    snprintf(command, sizeof command, "cd %s && echo shell >s && cat s f && ls && mv s t && cat <t | tr a-z A-Z && cp f g && sh -c 'wc -c <g' && rm t && ls", top);
    CHILD(execl("/bin/sh", "sh", "-c", command, NULL));
    R(system(command));
    snprintf(command, sizeof command, "exec 5>>%s/log; for i in 1 2 3; do echo line $i >&5; (echo sub $i >&5) & wait; done; exec 5>&-; cat %s/log", top, top);
    R(system(command));
    R(access(in("log"), F_OK));
    FILE *p = popen("cat f", "r");
    char line[100] = "";
    if (p && fgets(line, sizeof line, p)) SAY("popen %s", line);
    if (p) R(pclose(p));
    CHILD(execl(program, program, top, "started", "3", "itself", NULL));
}

static void others(void) { // for the case: what a service without `children` starts sees nothing
    R(close(open(in("f"), O_CREAT | O_RDWR, 0600)));
    char command[600];
    snprintf(command, sizeof command, "cat %s/f", top);
    SAY("cat %s", system(command) ? "fails" : "works");
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    if (argc < 3) return 2;
    static char path[300];
    readlink("/proc/self/exe", program, sizeof program - 1);
    umask(022);
    if (!strcmp(argv[2], "started") && argc > 4) {
        top = argv[1];
        started(atoi(argv[3]), argv[4]);
        puts("end");
        return 6;
    }
    if (!strcmp(argv[2], "exec-from-thread")) {
        pthread_t t, u[3];
        top = argv[1];
        for (int i = 0; i < 3; ++i) pthread_create(&u[i], NULL, pausing, NULL);
        pthread_create(&t, NULL, exec_thread, argv[3]);
        pthread_join(t, NULL);
        return 8;
    }
    snprintf(path, sizeof path, "%s/%s", argv[1], argv[2]);
    top = path;
    R(mkdir(top, 0755));
    const struct {
        const char *name;
        void (*run)(void);
    } sections[] = {{"fork", forks},         {"exec", execs},       {"threads", threads}, {"clone", clones},
                    {"unshare", unshares},   {"passing", passing},  {"family", family},   {"others", others}};
    for (size_t i = 0; i < sizeof sections / sizeof *sections; ++i)
        if (!strcmp(sections[i].name, argv[2])) {
            sections[i].run();
            puts("end");
            return 0;
        }
    return 2;
}
