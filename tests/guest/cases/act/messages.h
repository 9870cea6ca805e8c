#pragma once
#include "common.h"
#include "sockets.h"

// One message with a descriptor beside one byte of data, or two messages at once.
static struct msghdr* letter(int** descriptor) {
  static union {
    char space[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
  } control;
  static struct iovec one;
  static struct msghdr message;
  one = (struct iovec){"x", 1};
  static char byte;
  one.iov_base = &byte;
  message =
      (struct msghdr){.msg_iov = &one, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  struct cmsghdr* head = CMSG_FIRSTHDR(&message);
  *head = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
  *descriptor = (int*)CMSG_DATA(head);
  return &message;
}
static long v_pass(char** v) {  // pass S FD
  int* descriptor;
  struct msghdr* message = letter(&descriptor);
  *descriptor = fd(v[2]);
  return sendmsg(fd(v[1]), message, 0);
}
static long v_take(char** v) {  // take S FD
  int* descriptor;
  struct msghdr* message = letter(&descriptor);
  *descriptor = -1;
  return recvmsg(fd(v[1]), message, 0) < 0 ? -1 : keep(v[2], *descriptor);
}
static struct mmsghdr* batch(struct sockaddr* to, socklen_t size) {
  static struct iovec one;
  static struct mmsghdr two[2];
  one = (struct iovec){buf, to || !size ? len : sizeof buf};
  two[0] = two[1] =
      (struct mmsghdr){.msg_hdr = {.msg_name = to, .msg_namelen = to ? size : 0, .msg_iov = &one, .msg_iovlen = 1}};
  return two;
}
static long v_sendmmsg(char** v) { return sendmmsg(fd(v[1]), batch(NULL, 0), 2, 0); }
static long v_sendmmsg_to(char** v) {
  socklen_t n;
  struct sockaddr* a = address(fd(v[1]), v[2], &n);
  return sendmmsg(fd(v[1]), batch(a, n), 2, 0);
}
static long v_recvmmsg(char** v) { return recvmmsg(fd(v[1]), batch(NULL, 1), 2, MSG_WAITFORONE, NULL); }
static const struct verb message_verbs[] = {{"pass", 2, v_pass},         {"take", 2, v_take},
                                            {"sendmmsg", 1, v_sendmmsg}, {"sendmmsg-to", 2, v_sendmmsg_to},
                                            {"recvmmsg", 1, v_recvmmsg}, {NULL, 0, NULL}};
