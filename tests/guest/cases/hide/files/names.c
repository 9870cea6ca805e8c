// What makes, moves and removes names.
#include "files.h"

void test_renames(void) {
    make(in("a"), "a");
    make(in("b"), "bb");
    R(rename(in("a"), in("b")));
    FILE_TEXT(in("b"));
    FILE_TEXT(in("a"));
    R(rename(in("a"), in("b")));
    R(rename(in("b"), in("b")));
    R(rename(in("b"), in("no/b")));
    R(rename(in("b"), in("dir")));
    R(rename(in("dir"), in("b")));
    R(rename(in("b"), in("c/")));
    R(rename(in("dir"), in("dir/below")));
    R(rename(in("dir"), in("dir2/")));
    FILE_TEXT(in("dir2/inner"));
    R(rename(in("dir2"), in("dir")));
    R(mkdir(in("full"), 0700));
    make(in("full/x"), "x");
    make(in("b"), "b");
    R(rename(in("dir"), in("full")));
    R(mkdir(in("empty"), 0700));
    R(rename(in("full"), in("empty")));
    LIST(in("empty"));
    R(rename(in("b"), in("empty/moved")));
    LIST(in("empty"));
    make(in("empty/moved"), "m");
    make(in("a"), "one");
    make(in("b"), "two");
    R(renameat2(AT_FDCWD, in("a"), AT_FDCWD, in("b"), RENAME_NOREPLACE));
    R(renameat2(AT_FDCWD, in("a"), AT_FDCWD, in("e"), RENAME_NOREPLACE));
    R(renameat2(AT_FDCWD, in("e"), AT_FDCWD, in("b"), RENAME_EXCHANGE));
    FILE_TEXT(in("e"));
    FILE_TEXT(in("b"));
    R(renameat2(AT_FDCWD, in("e"), AT_FDCWD, in("none"), RENAME_EXCHANGE));
    R(renameat2(AT_FDCWD, in("e"), AT_FDCWD, in("empty"), RENAME_EXCHANGE));
    FILE_TEXT(in("e/moved"));
    FILE_TEXT(in("empty"));
    R(renameat2(AT_FDCWD, in("e"), AT_FDCWD, in("b"), RENAME_EXCHANGE | RENAME_NOREPLACE));
    R(renameat2(AT_FDCWD, in("e"), AT_FDCWD, in("b"), 1 << 10));
    int dir;
    R(dir = open(in("e"), O_RDONLY));
    R(renameat(dir, "moved", dir, "again"));
    R(renameat(dir, "again", AT_FDCWD, in("b")));
    R(renameat(99, "again", AT_FDCWD, in("b")));
    LIST(in("e"));
    R(rename(in("."), in("x")));
    R(rename(in("e/.."), in("x")));
    R(rename(in(""), in("x")));
    // An open file keeps its offset and contents while it is renamed.
    int fd;
    R(fd = open(in("b"), O_RDWR | O_APPEND));
    R(rename(in("b"), in("b2")));
    R(write(fd, "+", 1));
    FILE_TEXT(in("b2"));
    R(close(fd));
    R(close(dir));
}

void test_links(void) {
    int fd, dir;
    R(mkdir(in("e"), 0700));
    make(in("e/x"), "x");
    R(dir = open(in("e"), O_RDONLY));
    make(in("l"), "linked");
    R(link(in("l"), in("l2")));
    R(link(in("l"), in("l2")));
    R(link(in("none"), in("l3")));
    R(link(in("dir"), in("l3")));
    R(link(in("l"), in("no/l3")));
    R(symlink("l", in("ls")));
    R(link(in("ls"), in("ls2")));
    LSTAT(in("ls2"));
    R(linkat(AT_FDCWD, in("ls"), AT_FDCWD, in("l3"), AT_SYMLINK_FOLLOW));
    LSTAT(in("l3"));
    R(linkat(dir, "x", dir, "y", 0));
    R(linkat(dir, "x", dir, "z", 0x40000000));
    R(fd = open(in("l"), O_RDONLY));
    R(linkat(fd, "", dir, "by-fd", AT_EMPTY_PATH));
    FSTAT(fd);
    R(close(fd));
    R(symlink("anything at all", in("l")));
    R(symlink("", in("l4")));
    R(symlink("x", in("no/l4")));
    R(symlinkat("relative", dir, "symbolic"));
    char text[300] = {0};
    R(readlink(in("ls"), text, sizeof text));
    SAY("%s", text);
    R(readlinkat(dir, "symbolic", text, 3));
    SAY("%s", text);
    R(readlink(in("l"), text, sizeof text));
    R(readlink(in("none"), text, sizeof text));
    R(readlink(in("ls"), text, 0));
    R(readlink(in("dir"), text, 10));
    R(readlink(in("ls/"), text, 10));
    char target[5000];
    memset(target, 't', sizeof target);
    target[900] = 0;
    R(symlink(target, in("long")));
    LSTAT(in("long"));
    target[900] = 't';
    target[4096] = 0;
    R(symlink(target, in("longer")));
    R(close(dir));
}

void test_unlinks(void) {
    int dir;
    make(in("l"), "l");
    R(link(in("l"), in("l2")));
    R(symlink("l", in("ls")));
    R(mkdir(in("e"), 0700));
    make(in("e/x"), "x");
    make(in("e/y"), "y");
    R(dir = open(in("e"), O_RDONLY));
    R(unlink(in("l2")));
    STAT(in("l"));
    R(unlink(in("l2")));
    R(unlink(in("dir")));
    R(unlink(in("ls")));
    R(unlink(in("l/x")));
    R(unlink(in("l/")));
    R(unlink(in("round")));
    R(unlink(in(".")));
    R(unlink(""));
    R(unlinkat(dir, "y", 0));
    R(unlinkat(dir, "y", 0));
    R(unlinkat(dir, "x", AT_REMOVEDIR));
    R(unlinkat(dir, "x", 77));
    R(unlinkat(AT_FDCWD, in("e"), AT_REMOVEDIR));
    R(close(dir));
}

void test_make_directories(void) {
    int dir;
    make(in("l"), "l");
    R(mkdir(in("e"), 0700));
    R(dir = open(in("e"), O_RDONLY));
    R(mkdir(in("m"), 0777));
    STAT(in("m"));
    R(mkdir(in("m"), 0777));
    R(mkdir(in("m/n/"), 01777));
    STAT(in("m/n"));
    R(mkdir(in("l"), 0777));
    R(mkdir(in("l/x"), 0777));
    R(mkdir(in("no/x"), 0777));
    R(mkdir(in("m/."), 0777));
    R(mkdir(in("m/.."), 0777));
    R(mkdir(in("round"), 0777));
    R(mkdir(in("dangling2"), 06755));
    STAT(in("dangling2"));
    R(mkdirat(dir, "below", 0700));
    R(mkdirat(99, "below", 0700));
    R(rmdir(in("m")));
    R(rmdir(in("m/.")));
    R(rmdir(in("m/n/..")));
    R(rmdir(in("m/n")));
    R(rmdir(in("m")));
    R(rmdir(in("m")));
    R(rmdir(in("l")));
    R(rmdir(in("l/x")));
    R(unlinkat(dir, "below", AT_REMOVEDIR));
    R(mkdir(in("removed"), 0700));
    int gone;
    R(gone = open(in("removed"), O_RDONLY));
    R(rmdir(in("removed")));
    TRY(openat(gone, "x", O_CREAT | O_RDWR, 0600));
    R(mkdirat(gone, "x", 0700));
    R(faccessat(gone, ".", F_OK, 0));
    list_fd(__LINE__, gone, 1000);
    R(close(gone));
    R(close(dir));
}

void test_rare(void) {
    int fd;
    R(fd = open(in("dir"), O_TMPFILE | O_RDWR, 0600));
    R(write(fd, "temporary", 9));
    FSTAT(fd);
    LIST(in("dir"));
    R(linkat(fd, "", AT_FDCWD, in("dir/named"), AT_EMPTY_PATH));
    FSTAT(fd);
    R(close(fd));
    FILE_TEXT(in("dir/named"));
    R(mknod(in("regular"), S_IFREG | 0640, 0));
    STAT(in("regular"));
    R(mknod(in("regular"), S_IFREG | 0640, 0));
    R(mknod(in("dir"), S_IFREG | 0640, 0));
    R(mknod(in("fifo"), S_IFIFO | 0640, 0));
    STAT(in("fifo"));
    R(unlink(in("fifo")));
    R(fd = open(in("open"), O_RDWR));
    R(pwritev2(fd, &(struct iovec){"text", 4}, 1, 0, RWF_DSYNC));
    R(pwritev2(fd, &(struct iovec){"text", 4}, 1, 0, RWF_APPEND));
    FSTAT(fd);
    int left = -1;
    R(lseek(fd, 2, SEEK_SET));
    R(ioctl(fd, FIONREAD, &left));
    SAY("left %d", left);
    R(close(fd));
}

// Without O_EXCL it could get a name later, which is not possible outside.
void test_temporary(void) {
    int fd;
    R(fd = open(in("dir"), O_TMPFILE | O_RDWR | O_EXCL, 0600));
    FLAGS(fd);
    R(write(fd, "temporary", 9));
    FSTAT(fd);
    TEXT(fd);
    LIST(in("dir"));
    R(lock_range(fd, F_SETLK, F_WRLCK, 0, 0));
    R(close(fd));
    TRY(open(in("dir"), O_TMPFILE | O_RDONLY | O_EXCL, 0600));
    TRY(open(in("open"), O_TMPFILE | O_RDWR | O_EXCL, 0600));
    TRY(open(in("none"), O_TMPFILE | O_RDWR | O_EXCL, 0600));
}
