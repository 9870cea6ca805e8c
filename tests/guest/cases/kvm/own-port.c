// Writes to the port by which hooks stop a vCPU, as only the tracer's own code is to: in user mode, with and without leave.
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/io.h>

static sigjmp_buf back;
static void refused(int number) { siglongjmp(back, number); }

int main(void) {
  signal(SIGSEGV, refused);
  if (sigsetjmp(back, 1) == 0) {
    outb(1, 0xe5);
    puts("without leave: written");
  } else {
    puts("without leave: refused");
  }
  if (iopl(3) != 0) {
    perror("iopl");
    return 1;
  }
  for (int i = 0; i < 20000; ++i) outb((unsigned char)i, 0xe5);
  for (int i = 0; i < 100; ++i) (void)inb(0xe5);
  const unsigned char text[] = "several bytes at once";
  outsb(0xe5, text, sizeof text);
  outw(0x1234, 0xe5);
  puts("with leave: written");
  return 0;
}
