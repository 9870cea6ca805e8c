// Preloaded behind oboro-kvm.so: the next ioctl() after ours, in the place of the C library's. The program says what
// its kernel does by a function of its own; without one, this is the C library's.
#include <cstdarg>
#include <dlfcn.h>
#include <sys/ioctl.h>

extern "C" int ioctl(int fd, unsigned long request, ...) noexcept {
  using Fixed = int (*)(int, unsigned long, void*);
  using Variadic = int (*)(int, unsigned long, ...);
  va_list arguments;
  va_start(arguments, request);
  void* argument = va_arg(arguments, void*);
  va_end(arguments);
  static const auto fake = reinterpret_cast<Fixed>(dlsym(RTLD_DEFAULT, "fake_kernel_ioctl"));
  if (fake && _IOC_TYPE(request) == 0xae) return fake(fd, request, argument);
  static const auto next = reinterpret_cast<Variadic>(dlsym(RTLD_NEXT, "ioctl"));
  return next(fd, request, argument);
}
