// Programs that are executed: itself, and others.
#include "inherit.h"
#include <spawn.h>

extern char **environ;

void started(int fd, const char *what) { // in the program that was executed
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

void execs(void) {
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

static void *pausing(void *nothing) {
    for (;;) pause();
    return nothing;
}

static void *exec_thread(void *argument) {
    char *list[] = {program, (char *)top, "started", argument, "from a thread", NULL};
    execv(program, list);
    return NULL;
}

// Comes back only if the program could not be executed.
int exec_from_thread(char *fd) {
    pthread_t t, u[3];
    for (int i = 0; i < 3; ++i) pthread_create(&u[i], NULL, pausing, NULL);
    pthread_create(&t, NULL, exec_thread, fd);
    pthread_join(t, NULL);
    return 8;
}

// Programs that a service with `children = true` starts are hidden like itself.
void family(void) {
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
    while (p && fgets(line, sizeof line, p)) SAY("popen %s", line); // to its end: cat would die of a pipe without readers
    if (p) R(pclose(p));
    CHILD(execl(program, program, top, "started", "3", "itself", NULL));
}

void others(void) { // for the case: what a service without `children` starts sees nothing
    R(close(open(in("f"), O_CREAT | O_RDWR, 0600)));
    char command[600];
    snprintf(command, sizeof command, "cat %s/f", top);
    SAY("cat %s", system(command) ? "fails" : "works");
}
