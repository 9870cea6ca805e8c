// What is known of a file: stat in all variants, access, modes, owners, times.
#include "files.h"
#include <sys/statfs.h>

void test_stats(void) {
    make(in("stat"), "hello world\n");
    R(link(in("stat"), in("stat2")));
    R(symlink("stat", in("stat-link")));
    STAT(in("stat"));
    LSTAT(in("stat-link"));
    STAT(in("stat-link"));
    STAT(in("none"));
    STAT(in("stat/x"));
    STAT(in("round"));
    STAT(in("dir"));
    STAT(in("dir/"));
    STAT(in("dir/."));
    STAT(in("stat/"));
    STAT("");
    LSTAT(in("round"));
    LSTAT(in("dangling"));
    LSTAT(in("stat-link/"));
    FSTAT(99);
    FSTAT(-1);
    int fd, dir;
    R(fd = open(in("stat"), O_RDONLY));
    R(dir = open(in("dir"), O_RDONLY));
    struct stat a, b;
    R(stat(in("stat"), &a));
    R(fstat(fd, &b));
    SAY("same file %d %d", a.st_ino == b.st_ino, a.st_dev == b.st_dev);
    R(stat(in("stat2"), &b));
    SAY("same file %d %d", a.st_ino == b.st_ino, a.st_dev == b.st_dev);
    R(stat(in("dir"), &b));
    SAY("another %d, same device %d", a.st_ino != b.st_ino, a.st_dev == b.st_dev);
    SAY("recent %d", a.st_mtime > time(NULL) - 1000 && a.st_mtime <= time(NULL) + 60);
    SAY("recent %d", a.st_atime > time(NULL) - 1000 && a.st_atime <= time(NULL) + 60);
    SAY("recent %d", a.st_ctime > time(NULL) - 1000 && a.st_ctime <= time(NULL) + 60);
    R(fstatat(fd, "", &a, AT_EMPTY_PATH));
    show(__LINE__, "empty", &a);
    R(fstatat(fd, "", &a, 0));
    R(fstatat(dir, "", &a, AT_EMPTY_PATH));
    show(__LINE__, "empty", &a);
    R(fstatat(dir, "../stat", &a, 0));
    show(__LINE__, "relative", &a);
    R(fstatat(dir, "../stat-link", &a, AT_SYMLINK_NOFOLLOW));
    show(__LINE__, "relative link", &a);
    R(fstatat(fd, "x", &a, 0));
    R(fstatat(dir, "inner", &a, 0x40000000));
    R(fstatat(99, "inner", &a, 0));
    struct statx x;
    memset(&x, 0, sizeof x);
    R(statx(AT_FDCWD, in("stat"), 0, STATX_BASIC_STATS, &x));
    SAY("statx mask %x mode %o links %u uid %u gid %u size %llu attributes %llx", x.stx_mask & STATX_BASIC_STATS, x.stx_mode, x.stx_nlink, x.stx_uid,
        x.stx_gid, (unsigned long long)x.stx_size, (unsigned long long)x.stx_attributes & ~STATX_ATTR_MOUNT_ROOT);
    R(statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, &x));
    SAY("size %llu", (unsigned long long)x.stx_size);
    R(statx(dir, "../stat-link", AT_SYMLINK_NOFOLLOW, STATX_ALL, &x));
    SAY("mode %o size %llu", x.stx_mode, (unsigned long long)x.stx_size);
    R(statx(dir, "none", 0, STATX_ALL, &x));
    R(statx(dir, "", 0, STATX_ALL, &x));
    R(statx(dir, "inner", 0x40000000, STATX_ALL, &x));
    R(statx(dir, "inner", AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC, STATX_ALL, &x));
    R(statx(dir, "inner", 0, 0x80000000, &x));
    struct statfs fs;
    R(statfs(in("stat"), &fs));
    SAY("name length %ld", (long)fs.f_namelen);
    R(fstatfs(fd, &fs));
    R(statfs(in("none"), &fs));
    R(close(fd));
    R(close(dir));
}

void test_accesses(void) {
    int fd, dir;
    make(in("stat"), "hello world\n");
    R(fd = open(in("stat"), O_RDONLY));
    R(dir = open(in("dir"), O_RDONLY));
    R(access(in("stat"), F_OK));
    R(access(in("stat"), R_OK | W_OK));
    R(access(in("stat"), X_OK));
    R(access(in("dir"), X_OK));
    R(access(in("none"), F_OK));
    R(access(in("stat/x"), F_OK));
    R(access(in("stat"), 8));
    R(access(in("dangling"), F_OK));
    R(access(in("round"), F_OK));
    R(faccessat(dir, "inner", R_OK, 0));
    R(syscall(SYS_faccessat2, dir, "inner", W_OK, AT_EACCESS));
    R(syscall(SYS_faccessat2, dir, "none", W_OK, AT_EACCESS));
    R(syscall(SYS_faccessat2, dir, "../round", F_OK, AT_SYMLINK_NOFOLLOW));
    R(syscall(SYS_faccessat2, fd, "", R_OK, AT_EMPTY_PATH));
    R(syscall(SYS_faccessat2, fd, "", R_OK, 0));
    R(syscall(SYS_faccessat2, fd, "", R_OK, 0x40000000));
    R(close(fd));
    R(close(dir));
}

void test_attributes(void) {
    make(in("m"), "mode");
    int fd;
    R(fd = open(in("m"), O_RDWR));
    R(chmod(in("m"), 0600));
    STAT(in("m"));
    R(chmod(in("m"), 0100644));
    FSTAT(fd);
    R(fchmod(fd, 0751));
    STAT(in("m"));
    R(chmod(in("none"), 0600));
    R(chmod(in("m/x"), 0600));
    R(fchmod(99, 0600));
    R(fchmodat(AT_FDCWD, in("m"), 0600, 0));
    R(symlink("m", in("mlink")));
    R(chmod(in("mlink"), 0601));
    STAT(in("m"));
    R(chown(in("m"), 0, 0));
    FSTAT(fd);
    R(chown(in("m"), 1000, 1001));
    FSTAT(fd);
    R(chown(in("m"), 1002, -1));
    FSTAT(fd);
    R(chown(in("m"), -1, 1003));
    FSTAT(fd);
    R(fchown(fd, 65534, 65534));
    FSTAT(fd);
    R(fchown(fd, 70000, 123456789));
    FSTAT(fd);
    R(fchown(99, 0, 0));
    R(chown(in("none"), 0, 0));
    R(fchownat(AT_FDCWD, in("mlink"), 7, 8, 0)); // the file's
    STAT(in("m"));
    LSTAT(in("mlink"));
    R(fchownat(fd, "", 9, 10, AT_EMPTY_PATH));
    FSTAT(fd);
    R(write(fd, "x", 1));
    R(close(fd));
    R(chown(in("dir"), 11, 12));
    R(chmod(in("dir"), 0750));
    STAT(in("dir"));
}

// Whose mode shuts out even its owner, who is root here; and the owner of a link.
void test_shut(void) {
    make(in("m"), "mode");
    int fd;
    R(fd = open(in("m"), O_RDWR));
    R(fchmod(fd, 0));
    FSTAT(fd);
    R(pwrite(fd, "M", 1, 0)); // what is open stays so
    TEXT(fd);
    TRY(open(in("m"), O_RDONLY));
    TRY(open(in("m"), O_WRONLY));
    R(access(in("m"), R_OK));
    R(access(in("m"), F_OK));
    R(chmod(in("m"), 0600));
    R(chown(in("m"), 1, 2));
    R(fchown(fd, 1, 2));
    R(fchmod(fd, 0644));
    FSTAT(fd);
    FILE_TEXT(in("m"));
    R(close(fd));
    R(chmod(in("dir"), 0));
    STAT(in("dir"));
    LIST(in("dir"));
    FILE_TEXT(in("dir/inner"));
    R(mkdir(in("dir/new"), 0700));
    R(rename(in("dir"), in("other")));
    SAY("chmod %s", chmod(in("other"), 0755) ? "fails" : "works");
    FILE_TEXT(in("other/inner"));
    R(lchown(in("link"), 5, 6));
    LSTAT(in("link"));
    R(fchownat(AT_FDCWD, in("link"), 7, 8, AT_SYMLINK_NOFOLLOW));
    LSTAT(in("link"));
}

// setuid, setgid and the group that files in a setgid directory get.
void test_special_bits(void) {
    make(in("m"), "mode");
    int fd;
    R(fd = open(in("m"), O_RDWR));
    R(fchmod(fd, 04755));
    FSTAT(fd);
    R(fchmod(fd, 06755));
    R(chown(in("m"), 1002, -1)); // takes the bits away
    FSTAT(fd);
    R(fchmod(fd, 06755));
    R(write(fd, "x", 1)); // root's write leaves them
    FSTAT(fd);
    R(close(fd));
    R(umask(0));
    R(fd = open(in("u4"), O_CREAT | O_RDWR, 07777));
    FSTAT(fd);
    R(close(fd));
    R(umask(022));
    R(mkdir(in("group"), 0755));
    R(chown(in("group"), 0, 77));
    R(chmod(in("group"), 02775));
    STAT(in("group"));
    make(in("group/file"), "x");
    STAT(in("group/file"));
    R(mkdir(in("group/dir"), 0755));
    STAT(in("group/dir"));
}

void test_umasks(void) {
    int fd;
    R(umask(077));
    R(fd = open(in("u1"), O_CREAT | O_RDWR, 0666));
    FSTAT(fd);
    R(close(fd));
    R(mkdir(in("u2"), 0777));
    STAT(in("u2"));
    R(umask(0));
    R(fd = open(in("u4"), O_CREAT | O_RDWR, 0777));
    FSTAT(fd);
    R(close(fd));
    R(mkdir(in("u5"), 01777));
    STAT(in("u5"));
    R(umask(022));
    R(fd = open(in("u6"), O_CREAT | O_RDWR, 0777));
    FSTAT(fd);
    R(close(fd));
}

void test_times(void) {
    int fd;
    make(in("u1"), "times");
    make(in("m"), "m");
    R(symlink("m", in("mlink")));
    struct stat st;
#define TIMES(path)                                                                                                                        \
    (stat(path, &st), SAY("%ld.%09ld %ld.%09ld", (long)st.st_atim.tv_sec, st.st_atim.tv_nsec, (long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec))
    struct timespec t[2] = {{1000000000, 123456789}, {1100000000, 987654321}};
    R(utimensat(AT_FDCWD, in("u1"), t, 0));
    TIMES(in("u1"));
    t[0].tv_nsec = UTIME_OMIT;
    t[1].tv_sec = 5;
    R(utimensat(AT_FDCWD, in("u1"), t, 0));
    TIMES(in("u1"));
    t[1].tv_nsec = UTIME_NOW;
    R(utimensat(AT_FDCWD, in("u1"), t, 0));
    stat(in("u1"), &st);
    SAY("now %d", st.st_mtime > time(NULL) - 100);
    t[1].tv_nsec = 1000000000;
    R(utimensat(AT_FDCWD, in("u1"), t, 0));
    R(utimensat(AT_FDCWD, in("u1"), NULL, 0));
    stat(in("u1"), &st);
    SAY("now %d", st.st_atime > time(NULL) - 100);
    R(utimensat(AT_FDCWD, in("none"), NULL, 0));
    t[0] = (struct timespec){77, 7};
    t[1] = (struct timespec){88, 8};
    R(utimensat(AT_FDCWD, in("mlink"), t, AT_SYMLINK_NOFOLLOW));
    lstat(in("mlink"), &st);
    SAY("%ld %ld", (long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    R(fd = open(in("u1"), O_RDONLY));
    R(futimens(fd, t));
    TIMES(in("u1"));
    R(close(fd));
    struct timeval u[2] = {{10, 500000}, {20, 250000}};
    R(utimes(in("u1"), u));
    TIMES(in("u1"));
    R(syscall(SYS_utimes, in("u1"), u));
    u[0].tv_usec = 2000000;
    R(syscall(SYS_utimes, in("u1"), u));
    long old[2] = {30, 40};
    R(syscall(SYS_utime, in("u1"), old));
    TIMES(in("u1"));
    R(syscall(SYS_utime, in("none"), old));
    // Writing changes the time of modification, reading does not.
    R(fd = open(in("u1"), O_RDWR));
    R(read(fd, big, 10));
    fstat(fd, &st);
    SAY("unchanged %d", st.st_mtime == 40);
    R(write(fd, "x", 1));
    fstat(fd, &st);
    SAY("changed %d", st.st_mtime > 1000);
    R(close(fd));
}
