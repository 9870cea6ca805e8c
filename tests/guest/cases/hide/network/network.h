// What the sections share. See main.c.
#pragma once
#include "../calls.h"

extern struct sockaddr_in server;
extern unsigned char data[2 << 20], back[2 << 20];

struct sockaddr_in at(int plus);
void read_all(int line, int fd, size_t want);
#define READ_ALL(fd, want) read_all(__LINE__, fd, want)
int connected_line(int line);
#define CONNECTED() connected_line(__LINE__)
void ask(int fd, const char* command);
void option(int line, int fd, int level, int name, const char* text);
#define OPTION(fd, level, name) option(__LINE__, fd, level, name, #name)
void peer(int line, int fd);
#define PEER(fd) peer(__LINE__, fd)
void wait_readable(int fd);

void test_sockets(void);
void test_connects(void);
void test_streams(void);
void test_faults(void);
void test_ends(void);
void test_datagrams(void);
void test_errors(void);
void test_send_files(void);
