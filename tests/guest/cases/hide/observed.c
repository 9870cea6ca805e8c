// The program of bpftrace.case and audit.case: five rounds, in each of which the same calls go to a hidden file and another host, and to
// an ordinary file and a local socket. observed PORT
#include "calls.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};
    inet_pton(AF_INET, "10.199.83.2", &server.sin_addr);
    struct sockaddr_un nobody = {.sun_family = AF_UNIX, .sun_path = "/tmp/nobody"};
    char log[100], back[10];
    snprintf(log, sizeof log, "/srv/hidden/%s.log", program_invocation_short_name);
    int bad = 0, size = 0;
    mkdir("/srv/hidden", 0755);
    for (int round = 0; round < 5; ++round) {
        int file = open(log, O_CREAT | O_WRONLY | O_APPEND, 0600), s = socket(AF_INET, SOCK_DGRAM, 0);
        bad += write(file, "a secret line\n", 14) != 14 || (size = (int)lseek(file, 0, SEEK_END)) < 0 || close(file);
        bad += connect(s, (struct sockaddr *)&server, sizeof server) || sendto(s, "secret", 6, 0, NULL, 0) != 6;
        bad += poll(&(struct pollfd){s, POLLIN, 0}, 1, 10000) != 1 || recv(s, back, sizeof back, 0) != 6 || close(s);

        file = open("/tmp/ordinary", O_CREAT | O_WRONLY | O_APPEND, 0600), s = socket(AF_UNIX, SOCK_DGRAM, 0);
        bad += write(file, "a line\n", 7) != 7 || close(file);
        bad += connect(s, (struct sockaddr *)&nobody, sizeof nobody) != -1;
        bad += sendto(s, "x", 1, 0, (struct sockaddr *)&nobody, sizeof nobody) != -1 || close(s);
    }
    printf("%s: bad %d, size %d\n", program_invocation_short_name, bad, size);
    return 0;
}
