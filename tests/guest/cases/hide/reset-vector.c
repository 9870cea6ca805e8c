// Jumps to where a CPU begins after a reset. In a program of 64 bits that is a page like any other.
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define VECTOR 0xfffffff0UL

int main(void) {
  if (setgid(65534) != 0 || setuid(65534) != 0) return 1;
  unsigned char* page = mmap((void*)(VECTOR & ~4095UL), 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  if (page == MAP_FAILED) return 2;
  page[VECTOR & 4095] = 0xc3;  // ret
  for (int i = 0; i < 3; ++i) ((void (*)(void))VECTOR)();
  printf("came back as %d\n", (int)getuid());
  return 0;
}
