// Shared mappings of a ring's files, for its two sides.
#pragma once

#include <cstddef>
#include <memory>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/io_error.h"

namespace oboro::stream {

struct Unmap {
  size_t size;
  void operator()(void* at) const { ::munmap(at, size); }
};
using Mapping = std::unique_ptr<void, Unmap>;

inline Result<Mapping> map_shared(int fd, size_t size, bool writable) {
  void* at = ::mmap(nullptr, size, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) return io_error("ring");
  return Mapping(at, Unmap{size});
}

inline Result<size_t> size_of_regular(int fd) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return io_error("ring");
  if (!S_ISREG(status.st_mode)) return Error{Errc::invalid, "ring is not a regular file"};
  return static_cast<size_t>(status.st_size);
}

}  // namespace oboro::stream
