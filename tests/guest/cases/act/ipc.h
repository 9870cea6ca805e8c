#pragma once
#include <mqueue.h>
#include <pty.h>
#include <sys/msg.h>
#include <termios.h>

#include "common.h"

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
