// Calls with paths and descriptors of files, each with its result; every section is a run of its own: `PROGRAM DIRECTORY SECTION`, and
// without arguments the names of the sections. See ../calls.h.
// Left out as they may differ: inode and device numbers, times that were not set, sizes of directories, st_blksize, the values of statfs,
// mmap of a hidden file (ENODEV by design), io_uring, /proc/self/fd.
#include "files.h"

const char *top;
static char names[8][512];
static int next_name;
unsigned char big[4 << 20], other[4 << 20];
volatile int signals;

void count(int) { ++signals; }

// A path in the directory of the test.
const char *in(const char *name) {
    char *path = names[next_name++ % 8];
    snprintf(path, sizeof names[0], "%s/%s", top, name);
    return path;
}

void show(int line, const char *what, const struct stat *st) {
    printf("%d %s: mode %o uid %u gid %u links %lu", line, what, st->st_mode, st->st_uid, st->st_gid, (unsigned long)st->st_nlink);
    if (!S_ISDIR(st->st_mode)) printf(" size %ld blocks %s", (long)st->st_size, st->st_blocks ? "some" : "none");
    putchar('\n');
    fflush(stdout);
}

void make(const char *path, const char *text) {
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0644);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text)) SAY("make: %s", strerrorname_np(errno));
    close(fd);
}

void text_of(int line, int fd) {
    char buffer[256];
    ssize_t n = pread(fd, buffer, sizeof buffer, 0);
    printf("%d text %zd %.*s\n", line, n, n > 0 ? (int)n : 0, buffer);
    fflush(stdout);
}

void file_text(int line, const char *path) {
    int fd = open(path, O_RDONLY);
    if (fd < 0) {
        printf("%d no text: %s\n", line, strerrorname_np(errno));
        fflush(stdout);
        return;
    }
    text_of(line, fd);
    close(fd);
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

// The sorted names and types of a directory, read with a buffer of the given size.
void list_fd(int line, int fd, size_t size) {
    char *found[2000];
    int count = 0, calls = 0;
    char *buffer = malloc(size);
    for (;;) {
        long n = syscall(SYS_getdents64, fd, buffer, size);
        if (n < 0) printf("%d getdents64 %s\n", line, strerrorname_np(errno));
        if (n <= 0) break;
        ++calls;
        if (n > (long)size) printf("%d getdents64 gave %ld for %zu\n", line, n, size);
        for (long at = 0; at < n && count < 2000;) {
            struct entry *e = (struct entry *)(buffer + at);
            char *text = malloc(strlen(e->name) + 8);
            sprintf(text, "%s:%u", e->name, e->type);
            found[count++] = text;
            if (e->reclen % 8) printf("%d reclen %u\n", line, e->reclen);
            at += e->reclen;
        }
    }
    qsort(found, count, sizeof *found, by_name);
    uint32_t all = 0;
    for (int i = 0; i < count; ++i) all = all * 31 + hash(found[i], strlen(found[i]));
    printf("%d list %d hash %x %s:", line, count, all, calls > 1 ? "several calls" : "one call");
    for (int i = 0; i < count && i < 30; ++i) printf(" %s", found[i]);
    putchar('\n');
    fflush(stdout);
    for (int i = 0; i < count; ++i) free(found[i]);
    free(buffer);
}

void list(int line, const char *path, size_t size) {
    int fd = open(path, O_RDONLY | O_DIRECTORY);
    if (fd < 0) {
        printf("%d no list: %s\n", line, strerrorname_np(errno));
        return;
    }
    list_fd(line, fd, size);
    close(fd);
}

void cwd(int line) {
    char path[4096];
    long n = syscall(SYS_getcwd, path, sizeof path);
    if (n < 0) {
        printf("%d getcwd %s\n", line, strerrorname_np(errno));
    } else if (!strncmp(path, top, strlen(top))) {
        printf("%d getcwd %ld TOP%s\n", line, n, path + strlen(top));
    } else {
        printf("%d getcwd %ld %s\n", line, n, path);
    }
    fflush(stdout);
}

void flags_of(int line, int fd) { // what F_GETFL says, without what only says how the kernel was built
    int flags = fcntl(fd, F_GETFL);
    printf("%d F_GETFL %o F_GETFD %d\n", line, flags, fcntl(fd, F_GETFD));
    fflush(stdout);
}

int lock_range(int fd, int command, int type, long start, long size) {
    struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = size};
    int result = fcntl(fd, command, &l);
    if (result == 0 && (command == F_GETLK || command == F_OFD_GETLK))
        SAY("type %d whence %d start %ld length %ld pid %s", l.l_type, l.l_whence, (long)l.l_start, (long)l.l_len,
            l.l_pid == -1 ? "-1" : l.l_pid == getppid() ? "the parent's" : "another");
    return result;
}

static const struct {
    const char *name;
    void (*run)(void);
} sections[] = {
    {"open", test_opens},
    {"openat2", test_openat2s},
    {"openat2-large", test_openat2_large},
    {"data", test_data},
    {"vectors", test_vectors},
    {"bad-pointers", test_bad_pointers},
    {"seek", test_seeks},
    {"sizes", test_file_sizes},
    {"stat", test_stats},
    {"access", test_accesses},
    {"rename", test_renames},
    {"link", test_links},
    {"unlink", test_unlinks},
    {"mkdir", test_make_directories},
    {"attributes", test_attributes},
    {"shut", test_shut},
    {"special-bits", test_special_bits},
    {"umask", test_umasks},
    {"times", test_times},
    {"getdents", test_directories},
    {"cwd", test_working_directory},
    {"descriptors", test_descriptors},
    {"close-range", test_close_ranges},
    {"limits", test_limits},
    {"between", test_between},
    {"sendfile", test_sendfiles},
    {"locks", test_locks},
    {"record-locks", test_record_locks},
    {"users", test_users},
    {"interrupted", test_interrupted},
    {"rare", test_rare},
    {"temporary", test_temporary},
};

// What every section finds.
static void prepare(void) {
    R(mkdir(top, 0755));
    R(mkdir(in("dir"), 0755));
    make(in("dir/inner"), "inner");
    make(in("open"), "opened");
    R(symlink("open", in("link")));
    R(symlink("turn", in("round")));
    R(symlink("round", in("turn")));
    R(symlink("nowhere", in("dangling")));
    LIST(top);
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    if (argc < 3) { // the sections' names
        for (size_t i = 0; i < sizeof sections / sizeof *sections; ++i) puts(sections[i].name);
        return 0;
    }
    static char path[200];
    snprintf(path, sizeof path, "%s/%s", argv[1], argv[2]);
    top = path;
    if (!strcmp(argv[2], "hold")) { // what record_locks() executes
        char c;
        return write(100, "x", 1) != 1 || read(101, &c, 1) != 1;
    }
    umask(022);
    for (size_t i = 0; i < sizeof sections / sizeof *sections; ++i)
        if (!strcmp(sections[i].name, argv[2])) {
            prepare();
            sections[i].run();
            LIST(top);
            puts("end");
            return 0;
        }
    return 2;
}
