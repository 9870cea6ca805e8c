#pragma once
#include <mqueue.h>
#include <pty.h>
#include <sys/msg.h>
#include <termios.h>

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

struct note {
  long type;
  char text[4096];
};
static long v_msg_send(char** v) {
  static struct note n = {1, ""};
  memcpy(n.text, buf, len);
  return msgsnd(msgget((key_t)atoi(v[1]), IPC_CREAT | 0600), &n, len, 0);
}
static long v_msg_receive(char** v) {
  static struct note n;
  long r = msgrcv(msgget((key_t)atoi(v[1]), IPC_CREAT | 0600), &n, sizeof n.text, 0, 0);
  memcpy(buf, n.text, sizeof buf);
  return got(r);
}
static mqd_t mq(const char* name) {
  struct mq_attr a = {.mq_maxmsg = 4, .mq_msgsize = 4096};
  return mq_open(name, O_RDWR | O_CREAT, 0600, &a);
}
static long v_msg_remove(char** v) { return msgctl(msgget((key_t)atoi(v[1]), 0), IPC_RMID, NULL); }
static long v_mq_send(char** v) { return mq_send(mq(v[1]), buf, len, 1); }
static long v_mq_receive(char** v) { return got(mq_receive(mq(v[1]), buf, sizeof buf, NULL)); }
static long v_pipe(char** v) {
  int two[2];
  return pipe(two) ?: (keep(v[1], two[0]), keep(v[2], two[1]));
}
static long v_pty(char** v) {  // pty MASTER SLAVE, raw
  int m, s;
  struct termios raw;
  cfmakeraw(&raw);
  return openpty(&m, &s, NULL, &raw, NULL) ?: (keep(v[1], m), keep(v[2], s));
}
static const struct verb ipc_verbs[] = {{"msg-send", 1, v_msg_send},
                                        {"msg-receive", 1, v_msg_receive},
                                        {"msg-remove", 1, v_msg_remove},
                                        {"mq-send", 1, v_mq_send},
                                        {"mq-receive", 1, v_mq_receive},
                                        {"pipe", 2, v_pipe},
                                        {"pty", 2, v_pty},
                                        {NULL, 0, NULL}};
