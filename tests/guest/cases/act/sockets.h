#pragma once
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common.h"

// socket S TYPE: unix-stream, unix-dgram, unix-seqpacket, tcp, udp, tcp6, udp6
static int type_of(const char* name) {
  return strstr(name, "seq")                             ? SOCK_SEQPACKET
         : strstr(name, "tcp") || strstr(name, "stream") ? SOCK_STREAM
                                                         : SOCK_DGRAM;
}
static long v_socket(char** v) {
  int family = !strncmp(v[2], "unix", 4) ? AF_UNIX : strchr(v[2], '6') ? AF_INET6 : AF_INET, on = 1;
  long s = keep(v[1], socket(family, type_of(v[2]), 0));
  if (s >= 0 && family != AF_UNIX) setsockopt((int)s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  return s;
}
// An address: ADDRESS/PORT of a socket of the internet, else a path or @name.
static struct sockaddr* address(int s, char* text, socklen_t* size) {
  static struct sockaddr_storage at;
  struct sockaddr_in* in = (void*)&at;
  struct sockaddr_in6* in6 = (void*)&at;
  struct sockaddr_un* un = (void*)&at;
  int family = 0;
  *size = sizeof family;
  getsockopt(s, SOL_SOCKET, SO_DOMAIN, &family, size);
  memset(&at, 0, sizeof at);
  at.ss_family = (sa_family_t)family;
  if (family == AF_UNIX) {
    strncpy(un->sun_path, text, sizeof un->sun_path - 1);
    if (*text == '@') un->sun_path[0] = 0;
    *size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(text) + (*text != '@'));
    return (void*)&at;
  }
  char host[64];
  strncpy(host, text, 63);
  char* slash = strchr(host, '/');
  if (!slash) die(text, "wants ADDRESS/PORT");
  *slash = 0;
  in->sin_port = htons((uint16_t)atoi(slash + 1));
  inet_pton(family, host, family == AF_INET ? (void*)&in->sin_addr : (void*)&in6->sin6_addr);
  *size = family == AF_INET ? sizeof *in : sizeof *in6;
  return (void*)&at;
}
static long v_bind(char** v) {
  socklen_t n;
  struct sockaddr* a = address(fd(v[1]), v[2], &n);
  if (v[2][0] == '/') unlink(v[2]);
  return bind(fd(v[1]), a, n);
}
static long v_listen(char** v) { return listen(fd(v[1]), 5); }
static long v_accept(char** v) { return keep(v[1], accept(fd(v[2]), NULL, NULL)); }
static long v_connect(char** v) {  // waits until somebody listens
  for (int tries = 0; tries < 2000; tries++, usleep(5000)) {
    socklen_t n;
    struct sockaddr* a = address(fd(v[1]), v[2], &n);
    if (!connect(fd(v[1]), a, n)) return 0;
    if (errno != ENOENT && errno != ECONNREFUSED) return -1;
  }
  return -1;
}
static long v_pair(char** v) {
  int two[2];
  return socketpair(AF_UNIX, type_of(v[3]), 0, two) ?: (keep(v[1], two[0]), keep(v[2], two[1]));
}
static long v_shutdown(char** v) { return shutdown(fd(v[1]), SHUT_RDWR); }
static long v_abort(char** v) {
  struct linger now = {1, 0};
  return setsockopt(fd(v[1]), SOL_SOCKET, SO_LINGER, &now, sizeof now) ?: close(fd(v[1]));
}
static long v_send(char** v) { return send(fd(v[1]), buf, len, 0); }
static long v_sendto(char** v) {
  socklen_t n;
  struct sockaddr* a = address(fd(v[1]), v[2], &n);
  return sendto(fd(v[1]), buf, len, 0, a, n);
}
static long v_recv(char** v) { return got(recv(fd(v[1]), buf, sizeof buf, 0)); }
static const struct verb socket_verbs[] = {
    {"socket", 2, v_socket},   {"bind", 2, v_bind},     {"listen", 1, v_listen},     {"accept", 2, v_accept},
    {"connect", 2, v_connect}, {"pair", 3, v_pair},     {"shutdown", 1, v_shutdown}, {"abort", 1, v_abort},
    {"send", 1, v_send},       {"sendto", 2, v_sendto}, {"recv", 1, v_recv},         {NULL, 0, NULL}};
