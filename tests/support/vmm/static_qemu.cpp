// A QEMU that is linked statically, so that nothing can be preloaded into it.
#include <cstdio>
#include <cstring>

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[argc - 1], "--version") == 0) std::puts("QEMU emulator version 9.2.0");
  return 0;
}
