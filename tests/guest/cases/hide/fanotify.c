// For invisible.case: says of every file of a mount that it is opened, read, written or closed, and of every name of its file system that it
// is made, moved or removed. fanotify DIRECTORY
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/fanotify.h>
#include <unistd.h>

static const struct {
    unsigned long long bit;
    const char *name;
} kinds[] = {{FAN_OPEN, "open"},     {FAN_OPEN_EXEC, "execute"},  {FAN_ACCESS, "read"},           {FAN_MODIFY, "write"},          {FAN_CLOSE, "close"},
             {FAN_CREATE, "create"}, {FAN_DELETE, "delete"},      {FAN_MOVED_FROM, "moved-from"}, {FAN_MOVED_TO, "moved-to"},      {FAN_ATTRIB, "attributes"},
             {FAN_Q_OVERFLOW, "OVERFLOW"}};

static void say(const struct fanotify_event_metadata *event, const char *what) {
    if (event->pid == getpid()) return; // what is said is written to a file, too
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; ++i)
        if (event->mask & kinds[i].bit) printf("%s %d %s\n", kinds[i].name, event->pid, what);
}

static const char *what_of(const struct fanotify_event_metadata *event, char *path, size_t size) {
    if (event->fd >= 0) {
        char link[40];
        snprintf(link, sizeof link, "/proc/self/fd/%d", event->fd);
        const ssize_t length = readlink(link, path, size - 1);
        path[length > 0 ? length : 0] = 0;
        close(event->fd);
        return path;
    }
    const struct fanotify_event_info_fid *info = (const void *)(event + 1);
    if (event->event_len < sizeof *event + sizeof *info || info->hdr.info_type != FAN_EVENT_INFO_TYPE_DFID_NAME) return "?";
    const struct file_handle *handle = (const void *)info->handle;
    return (const char *)handle->f_handle + handle->handle_bytes;
}

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    struct pollfd groups[2] = {{.fd = fanotify_init(FAN_CLASS_NOTIF | FAN_UNLIMITED_QUEUE | FAN_NONBLOCK, O_RDONLY | O_LARGEFILE), .events = POLLIN},
                               {.fd = fanotify_init(FAN_CLASS_NOTIF | FAN_UNLIMITED_QUEUE | FAN_NONBLOCK | FAN_REPORT_DFID_NAME, 0), .events = POLLIN}};
    const unsigned long long names = FAN_CREATE | FAN_DELETE | FAN_MOVED_FROM | FAN_MOVED_TO | FAN_ATTRIB | FAN_ONDIR;
    if (fanotify_mark(groups[0].fd, FAN_MARK_ADD | FAN_MARK_MOUNT, FAN_OPEN | FAN_OPEN_EXEC | FAN_ACCESS | FAN_MODIFY | FAN_CLOSE, AT_FDCWD, argv[1]) != 0 ||
        fanotify_mark(groups[1].fd, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, names, AT_FDCWD, argv[1]) != 0)
        return printf("fanotify: %s\n", strerror(errno)), 1;
    puts("watching");
    static char path[5000];
    _Alignas(struct fanotify_event_metadata) static char events[65536];
    while (poll(groups, 2, -1) > 0 || errno == EINTR)
        for (int i = 0; i < 2; ++i) {
            ssize_t left = read(groups[i].fd, events, sizeof events);
            for (struct fanotify_event_metadata *event = (void *)events; FAN_EVENT_OK(event, left); event = FAN_EVENT_NEXT(event, left))
                say(event, what_of(event, path, sizeof path));
        }
    return 1;
}
