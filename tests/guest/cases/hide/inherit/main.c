// Descriptors, offsets and working directories of children, threads and programs that were started. See calls.h.
// Left out: what a descriptor of a hidden file is to another program that is not hidden.
#include "inherit.h"

const char *top;
char program[PATH_MAX];
static char names[8][512];
static int next_name;

const char *in(const char *name) {
    char *path = names[next_name++ % 8];
    snprintf(path, sizeof names[0], "%s/%s", top, name);
    return path;
}

void text(int line, int fd) {
    char buffer[256];
    ssize_t n = pread(fd, buffer, sizeof buffer, 0);
    printf("%d text %zd %.*s\n", line, n, n > 0 ? (int)n : 0, buffer);
    fflush(stdout);
}

void file_text(int line, const char *path) {
    int fd = open(path, O_RDONLY);
    if (fd < 0) printf("%d no text: %s\n", line, strerrorname_np(errno));
    else text(line, fd), close(fd);
    fflush(stdout);
}

void await(int line, pid_t pid) {
    int status = 0;
    pid_t got = waitpid(pid, &status, 0);
    printf("%d child %s: %s %d\n", line, got == pid ? "ended" : "lost", WIFEXITED(status) ? "exit" : "signal",
           WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
    fflush(stdout);
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
        top = argv[1];
        return exec_from_thread(argv[3]);
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
