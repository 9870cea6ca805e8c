// Directories read, and as the current one.
#include "files.h"
#include <dirent.h>

void test_directories(void) {
    R(mkdir(in("many"), 0755));
    R(mkdir(in("many/sub"), 0755));
    R(symlink("x", in("many/link")));
    LIST(in("many"));
    char name[300];
    for (int i = 0; i < 600; ++i) {
        snprintf(name, sizeof name, "many/%d-a-rather-long-name-so-that-it-does-not-fit", i);
        close(open(in(name), O_CREAT | O_WRONLY, 0600));
    }
    LIST(in("many"));
    list(__LINE__, in("many"), 1000);
    list(__LINE__, in("many"), 1 << 20);
    int fd;
    R(fd = open(in("many"), O_RDONLY | O_DIRECTORY));
    list_fd(__LINE__, fd, 4096);
    list_fd(__LINE__, fd, 4096); // at the end
    R(lseek(fd, 0, SEEK_SET));
    list_fd(__LINE__, fd, 4096);
    R(lseek(fd, 0, SEEK_SET));
    OK(syscall(SYS_getdents64, fd, other, 4096));
    int64_t at = ((struct entry *)other)->off;
    R(lseek(fd, at, SEEK_SET) == at);
    OK(syscall(SYS_getdents64, fd, other + 4096, 4096));
    struct entry *first = (struct entry *)other, *second = (struct entry *)(other + first->reclen);
    SAY("goes on there %d", !strcmp(second->name, ((struct entry *)(other + 4096))->name));
    R(close(fd));
    R(fd = open(in("open"), O_RDONLY));
    R(syscall(SYS_getdents64, fd, other, 4096));
    R(close(fd));
    R(syscall(SYS_getdents64, fd, other, 4096));
    DIR *d = opendir(in("many"));
    int count = 0;
    while (d && readdir(d)) ++count;
    SAY("readdir %d", count);
    if (d) {
        rewinddir(d);
        while (readdir(d) && count > 300) --count;
        long where = telldir(d);
        struct dirent *e = readdir(d);
        char saved[256];
        strcpy(saved, e ? e->d_name : "");
        seekdir(d, where);
        e = readdir(d);
        SAY("seekdir %d", e && !strcmp(saved, e->d_name));
        R(closedir(d));
    }
    // What is removed while it is listed.
    d = opendir(in("many"));
    int removed = 0;
    for (struct dirent *e; d && (e = readdir(d));)
        if (e->d_name[0] != '.' && e->d_name[0] < 'a') removed += !unlinkat(dirfd(d), e->d_name, 0);
    SAY("removed %d", removed);
    if (d) closedir(d);
    LIST(in("many"));
}

void test_working_directory(void) {
    int fd;
    char name[300];
    R(mkdir(in("many"), 0755));
    R(mkdir(in("many/sub"), 0755));
    R(chdir(top));
    CWD();
    R(chdir("many/sub"));
    CWD();
    make("relative", "relative");
    LIST(".");
    LIST("..");
    FILE_TEXT("relative");
    FILE_TEXT("./relative");
    FILE_TEXT("../sub/relative");
    FILE_TEXT("../../many/sub/relative");
    FILE_TEXT(in("many/sub/relative"));
    R(mkdir("d", 0700));
    R(rename("relative", "d/r"));
    R(symlink("d/r", "s"));
    FILE_TEXT("s");
    R(link("s", "t"));
    R(chmod("d/r", 0600));
    STAT("d/r");
    R(truncate("d/r", 3));
    FILE_TEXT("s");
    R(access("d/r", R_OK));
    R(unlink("s"));
    R(chdir("d"));
    CWD();
    R(chdir("none"));
    R(chdir("r"));
    R(chdir(""));
    R(chdir(NULL));
    R(chdir(".."));
    CWD();
    R(chdir("../.."));
    CWD();
    R(fd = open("many", O_RDONLY));
    R(fchdir(fd));
    CWD();
    R(close(fd));
    CWD();
    R(fd = open("sub/d/r", O_RDONLY));
    R(fchdir(fd));
    R(close(fd));
    R(fchdir(fd));
    R(fd = open("sub", O_PATH));
    R(fchdir(fd));
    R(close(fd));
    CWD();
    char small[5];
    R(syscall(SYS_getcwd, small, sizeof small));
    R(syscall(SYS_getcwd, NULL, 100));
    R(rename("d", "dd"));
    R(chdir("dd"));
    R(rename("../dd", "../renamed"));
    CWD();
    FILE_TEXT("r");
    // A child has its own.
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        R(chdir(".."));
        CWD();
        _exit(0);
    }
    waitpid(child, NULL, 0);
    CWD();
    R(mkdir("away", 0700));
    R(chdir("away"));
    R(rmdir("../away"));
    CWD();
    TRY(open("x", O_CREAT | O_RDWR, 0600));
    R(open(".", O_RDONLY | O_DIRECTORY) >= 0);
    R(access("..", F_OK));
    R(chdir(".."));
    R(chdir("/"));
    CWD();
    // From outside by a relative path, and out of it again by an absolute one.
    R(chdir("/srv"));
    CWD();
    const char *relative = top + strlen("/srv/");
    FILE_TEXT(strcat(strcpy(name, relative), "/open"));
    R(chdir(relative));
    CWD();
    R(chdir(".."));
    R(chdir("./"));
    FILE_TEXT(strcat(strcpy(name, strrchr(top, '/') + 1), "/open"));
    R(chdir("/tmp"));
    CWD();
    R(chdir("/"));
}
