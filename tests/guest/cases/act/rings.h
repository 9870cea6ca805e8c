#pragma once
#include <linux/io_uring.h>

#include "common.h"

// One request through a ring made for it.
static long ring(int opcode, int file, int flags) {
  struct io_uring_params p = {0};
  int r = (int)syscall(SYS_io_uring_setup, 2, &p);
  if (r < 0) return -1;
  char* sq = mmap(NULL, p.sq_off.array + p.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED, r, IORING_OFF_SQ_RING);
  char* cq = mmap(NULL, p.cq_off.cqes + p.cq_entries * 16, PROT_READ | PROT_WRITE, MAP_SHARED, r, IORING_OFF_CQ_RING);
  struct io_uring_sqe* e = mmap(NULL, p.sq_entries * sizeof *e, PROT_READ | PROT_WRITE, MAP_SHARED, r, IORING_OFF_SQES);
  *e = (struct io_uring_sqe){.opcode = (uint8_t)opcode,
                             .flags = (uint8_t)flags,
                             .fd = file,
                             .addr = (uintptr_t)buf,
                             .len = opcode == IORING_OP_READ ? 4096 : (unsigned)len};
  *(unsigned*)(sq + p.sq_off.array) = 0;
  __atomic_store_n((unsigned*)(sq + p.sq_off.tail), 1, __ATOMIC_RELEASE);
  if (syscall(SYS_io_uring_enter, r, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1) return -1;
  return ((struct io_uring_cqe*)(cq + p.cq_off.cqes))->res;
}
static long v_ring_read(char** v) { return got(ring(IORING_OP_READ, fd(v[1]), 0)); }
static long v_ring_write(char** v) { return got(ring(IORING_OP_WRITE, fd(v[1]), 0)); }
static long v_worker_read(char** v) {
  return got(ring(IORING_OP_READ, fd(v[1]), IOSQE_ASYNC));
}  // by a thread of the kernel's
static long v_worker_write(char** v) { return got(ring(IORING_OP_WRITE, fd(v[1]), IOSQE_ASYNC)); }
static const struct verb ring_verbs[] = {{"ring-read", 1, v_ring_read},
                                         {"ring-write", 1, v_ring_write},
                                         {"worker-read", 1, v_worker_read},
                                         {"worker-write", 1, v_worker_write},
                                         {NULL, 0, NULL}};
