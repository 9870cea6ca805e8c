// The service of invisible.case: for some seconds and rounds, or until SIGTERM, it writes to a hidden file and talks over a hidden connection.
// invisible PORT SECONDS
#include "calls.h"
#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>

static volatile sig_atomic_t ended;
static void end_now(int signal) { ended = signal; }

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};
    inet_pton(AF_INET, "10.199.82.2", &server.sin_addr);
    signal(SIGTERM, end_now);
    mkdir("/srv/hidden", 0755);
    int log = open("/srv/hidden/secret-log", O_CREAT | O_RDWR | O_TRUNC, 0600), s = socket(AF_INET, SOCK_STREAM, 0);
    int udp = socket(AF_INET, SOCK_DGRAM, 0);
    if (connect(s, (struct sockaddr *)&server, sizeof server) || connect(udp, (struct sockaddr *)&server, sizeof server)) SAY("connect %s", strerrorname_np(errno));
    SAY("running");
    double end = now() + atoi(argv[2]);
    long rounds = 0, all_bad = 0;
    for (; (now() < end || rounds <= 20) && !ended; ++rounds) {  // however slow the machine
        char back[10];
        long bad = 0;
        struct pollfd p = {s, POLLIN, 0};
        struct stat st;
        bad += write(log, "a line of the log\n", 18) != 18;
        bad += pread(log, back, 6, 0) != 6 || memcmp(back, "a line", 6) != 0;
        bad += send(s, "echo 3\nabc", 10, 0) != 10;
        bad += poll(&p, 1, 5000) != 1;
        bad += recv(s, back, 3, MSG_WAITALL) != 3;
        bad += send(udp, "x", 1, 0) != 1;
        bad += recv(udp, back, 1, 0) != 1;
        int other = open("/srv/hidden/secret-other", O_CREAT | O_RDWR, 0600);
        bad += other < 0 || fsync(other) || close(other) || rename("/srv/hidden/secret-other", "/srv/hidden/secret-moved") || stat("/srv/hidden/secret-moved", &st);
        bad += mkdir("/srv/hidden/secret-dir", 0700) || rmdir("/srv/hidden/secret-dir");
        DIR *d = opendir("/srv/hidden");
        int names = 0;
        while (d && readdir(d)) ++names;
        if (d) closedir(d);
        bad += names != 4;
        if (!ended) all_bad += bad; // else something may have been interrupted
    }
    struct stat st;
    fstat(log, &st);
    SAY("rounds %s, bad %ld, size %s", rounds > 20 ? "many" : "few", all_bad, st.st_size == 18 * rounds ? "right" : "wrong");
    return 0;
}
