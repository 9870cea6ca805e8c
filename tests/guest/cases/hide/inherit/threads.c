// Threads, and processes that share a table of descriptors.
#include "inherit.h"
#include <linux/sched.h>

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

void threads(void) {
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

void clones(void) {
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

void unshares(void) {
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
