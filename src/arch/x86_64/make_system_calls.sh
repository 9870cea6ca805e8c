#!/bin/sh
# Prints SYSTEM_CALL(number, name) for each x86-64 system call, in order: those of the C library's headers, and later
# ones that Oboro names, which older headers lack. Argument: the C compiler.
set -e
numbers=$(printf '#ifndef __x86_64__\n#error "not a compiler for x86-64"\n#endif\n#include <asm/unistd_64.h>\n' | "$1" -E -dM -)
{
  printf '%s\n' "$numbers" | sed -n 's/^#define __NR_\([a-z0-9_]*\) \([0-9]*\)$/\2 \1/p'
  cat <<'LATER'
443 quotactl_fd
451 cachestat
463 setxattrat
464 getxattrat
465 listxattrat
466 removexattrat
467 open_tree_attr
468 file_getattr
469 file_setattr
LATER
} | sort -n -u | sed 's/\(.*\) \(.*\)/SYSTEM_CALL(\1, \2)/'
