// Looks for the tracer's memory, which is at no address that the guest was told of, by way of /dev/mem, and writes to it.
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIZE (4UL << 20)

int main(void) {
  const int memory = open("/dev/mem", O_RDWR | O_SYNC);
  if (memory < 0) {
    perror("/dev/mem");
    return 1;
  }
  for (int bits = 36; bits <= 46; ++bits) {
    // Where nothing is, all bits are set.
    const off_t at = (off_t)((1UL << bits) - 16 * SIZE);
    volatile uint32_t *slot = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, at);
    if (slot == MAP_FAILED) continue;
    if (slot[0] == UINT32_MAX) {
      munmap((void *)slot, SIZE);
      continue;
    }
    int changed = 0;
    for (unsigned page = 0; page < SIZE / 4096; page += 16) {
      const uint32_t before = slot[page * 1024];
      slot[page * 1024] = ~before;
      changed += slot[page * 1024] != before;
    }
    puts(changed ? "found, changed" : "found, unchanged");
    return 0;
  }
  puts("not found");
  return 0;
}
