#!/bin/sh
# Prints {number, "name"}, lines for the x86-64 system calls, from the C library's headers. Argument: the C compiler.
echo '#include <asm/unistd_64.h>' | "$1" -E -dM - |
  sed -n 's/^#define __NR_\([a-z0-9_]*\) \([0-9]*\)$/{\2, "\1"},/p' | sort -t'{' -k2n
