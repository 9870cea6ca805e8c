// Locks, and several processes at one file.
#include "files.h"

void test_locks(void) {
    int a;
    R(a = open(in("from"), O_CREAT | O_RDWR | O_TRUNC, 0600));
    R(flock(a, LOCK_EX));
    int again;
    R(again = open(in("from"), O_RDWR));
    R(flock(again, LOCK_EX | LOCK_NB));
    R(flock(a, LOCK_UN));
    R(flock(again, LOCK_SH | LOCK_NB));
    R(flock(a, LOCK_SH | LOCK_NB));
    R(close(again));
    R(flock(a, 77));
    R(flock(99, LOCK_EX));
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 10};
    R(fcntl(a, F_SETLK, &l));
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        R(fcntl(a, F_SETLK, &l));
        l.l_start = 0;
        l.l_len = 0;
        R(fcntl(a, F_GETLK, &l));
        SAY("type %d start %ld length %ld, the parent's %d", l.l_type, (long)l.l_start, (long)l.l_len, l.l_pid == getppid());
        l = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 30, .l_len = 10};
        R(fcntl(a, F_SETLK, &l));
        _exit(0);
    }
    waitpid(child, NULL, 0);
    l = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
    R(fcntl(a, F_SETLK, &l)); // the child's is over
    l.l_type = F_UNLCK;
    R(fcntl(a, F_SETLKW, &l));
    l.l_type = 77;
    R(fcntl(a, F_SETLK, &l));
    l.l_type = F_RDLCK;
    R(fcntl(a, F_OFD_SETLK, &l));
    R(fcntl(a, F_SETLK, NULL));
    l.l_pid = 1;
    l.l_type = F_RDLCK;
    R(fcntl(a, F_OFD_SETLK, &l));
    l = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = -1};
    R(fcntl(a, F_SETLK, &l));
    l.l_whence = 5;
    R(fcntl(a, F_SETLK, &l));
    R(close(a));
}

// A child that does something while the parent waits for it, and ends when the parent lets it. Steps are bytes in pipes.
static int to_child[2], to_parent[2];
static pid_t another(void) {
    fflush(stdout);
    if (pipe(to_child) || pipe(to_parent)) SAY("no pipes");
    return fork();
}

static void step(int *pipe) {
    if (write(pipe[1], "x", 1) != 1) SAY("no step");
}

static void wait_for(int *pipe) {
    char c;
    if (read(pipe[0], &c, 1) != 1) SAY("no step came");
}

static void over(pid_t child) {
    int status;
    step(to_child);
    waitpid(child, &status, 0);
    SAY("child %d", status);
    for (int i = 0; i < 2; ++i) {
        close(to_child[i]);
        close(to_parent[i]);
    }
}

void test_record_locks(void) {
    int a, b, c;
    pid_t child;
    struct sigaction action = {.sa_handler = count};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval soon = {.it_value = {0, 300000}};
    R(a = open(in("from"), O_CREAT | O_RDWR | O_TRUNC, 0600));
    R(write(a, "0123456789", 10));
    R(link(in("from"), in("same"))); // another name of the same file
    SAY("split and shared");
    R(lock_range(a, F_SETLK, F_WRLCK, 0, 100));
    R(lock_range(a, F_SETLK, F_UNLCK, 40, 20));
    R(lock_range(a, F_SETLK, F_RDLCK, 90, 10));
    child = another();
    if (!child) {
        R(b = open(in("same"), O_RDWR));
        R(lock_range(b, F_GETLK, F_WRLCK, 0, 0));
        R(lock_range(b, F_GETLK, F_WRLCK, 50, 0));
        R(lock_range(b, F_GETLK, F_RDLCK, 90, 5));
        R(lock_range(b, F_SETLK, F_WRLCK, 40, 20));
        R(lock_range(b, F_SETLK, F_WRLCK, 39, 1));
        R(lock_range(b, F_SETLK, F_RDLCK, 90, 10));
        R(lock_range(b, F_SETLK, F_WRLCK, 90, 10));
        R(lock_range(b, F_OFD_GETLK, F_WRLCK, 45, 1)); // its own, but not the file's
        R(lseek(b, 5, SEEK_SET));
        struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_CUR, .l_start = 34, .l_len = -3};
        R(fcntl(b, F_GETLK, &l));
        SAY("%d %ld %ld", l.l_type, (long)l.l_start, (long)l.l_len);
        l = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_END, .l_start = 100};
        R(fcntl(b, F_SETLK, &l));
        _exit(0);
    }
    over(child);
    R(lock_range(a, F_SETLK, F_WRLCK, 0, 0));
    SAY("released by any close");
    R(b = open(in("same"), O_RDONLY));
    R(lock_range(b, F_SETLK, F_WRLCK, 0, 0));
    R(close(b));
    child = another();
    if (!child) {
        R(lock_range(a, F_SETLK, F_WRLCK, 0, 0));
        step(to_parent);
        wait_for(to_child);
        _exit(0);
    }
    wait_for(to_parent);
    R(lock_range(a, F_SETLK, F_RDLCK, 7, 1));
    SAY("a signal ends the wait");
    signals = 0;
    setitimer(ITIMER_REAL, &soon, NULL);
    R(lock_range(a, F_SETLKW, F_RDLCK, 7, 1));
    SAY("signals %d", signals);
    SAY("the end of the other too");
    step(to_child);
    R(lock_range(a, F_SETLKW, F_RDLCK, 7, 1));
    over(child);
    R(lock_range(a, F_SETLK, F_WRLCK, 0, 1));
    SAY("deadlock");
    child = another();
    if (!child) {
        R(lock_range(a, F_SETLK, F_WRLCK, 1, 1));
        step(to_parent);
        _exit(lock_range(a, F_SETLKW, F_WRLCK, 0, 1) ? 1 : 0);
    }
    wait_for(to_parent);
    usleep(500000); // it waits now
    R(lock_range(a, F_SETLKW, F_WRLCK, 1, 1));
    R(lock_range(a, F_SETLK, F_UNLCK, 0, 0));
    over(child);
    SAY("of open files");
    R(b = open(in("from"), O_RDWR));
    R(c = dup(a));
    R(lock_range(a, F_OFD_SETLK, F_WRLCK, 0, 0));
    R(lock_range(c, F_OFD_SETLK, F_WRLCK, 5, 1));
    R(lock_range(b, F_OFD_SETLK, F_RDLCK, 5, 1));
    R(lock_range(b, F_OFD_GETLK, F_RDLCK, 5, 1));
    R(lock_range(b, F_GETLK, F_RDLCK, 5, 1));
    R(lock_range(a, F_SETLK, F_RDLCK, 5, 1)); // even of its own process
    signals = 0;
    setitimer(ITIMER_REAL, &soon, NULL);
    R(lock_range(b, F_OFD_SETLKW, F_RDLCK, 5, 1));
    SAY("signals %d", signals);
    R(close(c));
    R(lock_range(b, F_OFD_SETLK, F_RDLCK, 5, 1));
    R(close(a));
    R(lock_range(b, F_OFD_SETLK, F_RDLCK, 5, 1));
    R(close(b));
    SAY("over an exec");
    R(a = open(in("from"), O_RDWR));
    child = another();
    if (!child) {
        R(lock_range(a, F_SETLK, F_WRLCK, 0, 0));
        dup2(to_parent[1], 100);
        dup2(to_child[0], 101);
        execl("/proc/self/exe", "files", top, "hold", NULL);
        _exit(1);
    }
    wait_for(to_parent);
    R(lock_range(a, F_SETLK, F_RDLCK, 7, 1));
    over(child);
    R(lock_range(a, F_SETLK, F_RDLCK, 7, 1));
    SAY("a counter under a lock");
    R(pwrite(a, "\0\0\0\0", 4, 0));
    for (int i = 0; i < 3; ++i)
        if (!fork()) {
            int fd = open(in("same"), O_RDWR), value;
            for (int k = 0; k < 100; ++k) {
                if (lock_range(fd, F_SETLKW, F_WRLCK, 0, 4) || pread(fd, &value, 4, 0) != 4) SAY("no lock");
                ++value;
                if (pwrite(fd, &value, 4, 0) != 4 || lock_range(fd, F_SETLK, F_UNLCK, 0, 4)) SAY("no write");
            }
            _exit(0);
        }
    R(lock_range(a, F_SETLK, F_UNLCK, 0, 0));
    for (int i = 0; i < 3; ++i) wait(NULL);
    int value;
    R(pread(a, &value, 4, 0));
    SAY("counted %d", value);
    R(close(a));
}

void test_users(void) {
    int a, b;
    make(in("private"), "root's");
    R(chmod(in("private"), 0600));
    make(in("public"), "everyone's");
    make(in("removed"), "everyone's");
    make(in("moved"), "everyone's");
    R(mkdir(in("locked"), 0700));
    make(in("locked/x"), "x");
    R(mkdir(in("open-to-all"), 0777));
    R(chmod(in("open-to-all"), 01777));
    R(chmod(top, 0755));
    R(a = open(in("private"), O_RDWR));
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        if (setresgid(1000, 1000, 1000) || setresuid(1000, 1000, 1000)) SAY("not another user");
        TRY(open(in("private"), O_RDONLY));
        R(read(a, other, 3)); // what is open stays so
        R(fchmod(a, 0666));
        R(fchown(a, 1000, 1000));
        TRY(open(in("public"), O_RDWR));
        R(b = open(in("public"), O_RDONLY));
        TRY(open(in("public"), O_RDONLY | O_TRUNC));
        TRY(open(in("locked/x"), O_RDONLY));
        TRY(open(in("not-there"), O_CREAT | O_RDWR, 0600));
        R(access(in("private"), R_OK));
        R(access(in("public"), R_OK));
        R(access(in("public"), W_OK));
        R(unlink(in("removed")));
        R(rename(in("moved"), in("open-to-all/moved")));
        R(mkdir(in("dir1000"), 0700));
        R(chmod(in("public"), 0666));
        R(chown(in("public"), 1000, 1000));
        R(chdir(in("locked")));
        LIST(in("locked"));
        STAT(in("locked/x"));
        STAT(in("private"));
        R(b = open(in("open-to-all/mine"), O_CREAT | O_RDWR, 0666));
        FSTAT(b);
        R(fchmod(b, 0640));
        R(fchown(b, 0, 0));
        R(chown(in("open-to-all/mine"), -1, 1000));
        R(mkdir(in("open-to-all/dir"), 0777));
        STAT(in("open-to-all/dir"));
        R(utimensat(AT_FDCWD, in("public"), NULL, 0));
        R(link(in("private"), in("open-to-all/l")) == 0); // fs.protected_hardlinks
        R(truncate(in("public"), 0));
        _exit(0);
    }
    waitpid(child, NULL, 0);
    make(in("open-to-all/roots"), "x");
    R(mkdir(in("group"), 0755));
    R(chown(in("group"), 0, 77));
    R(chmod(in("group"), 0775));
    fflush(stdout);
    child = fork();
    if (!child) {
        gid_t groups[] = {77, 78};
        if (syscall(SYS_setgroups, 2, groups)) SAY("no groups");
        if (setresgid(1001, 1001, 1001) || setresuid(1001, 1001, 1001)) SAY("not another user");
        R(unlink(in("open-to-all/roots")));
        R(unlink(in("open-to-all/mine")));
        TRY(open(in("open-to-all/mine"), O_RDONLY));
        TRY(open(in("group/new"), O_CREAT | O_RDWR, 0600)); // by a supplementary group
        STAT(in("group/new"));
        _exit(0);
    }
    waitpid(child, NULL, 0);
    // The effective user counts, not the real one.
    R(setresuid(0, 1000, 0));
    TRY(open(in("private"), O_RDONLY));
    R(access(in("private"), R_OK));
    R(syscall(SYS_faccessat2, AT_FDCWD, in("private"), R_OK, AT_EACCESS));
    R(b = open(in("open-to-all/effective"), O_CREAT | O_RDWR, 0644));
    FSTAT(b);
    R(setresuid(0, 0, 0));
    R(close(b));
    R(close(a));
}
