// A ring of records in a shared file mapping: the only way from the QEMU process to the journal. It lives in the state
// directory, so what is in it survives the end, by any signal, of either side; the next reader goes on where the last
// one stopped.
//
// Layout: one 4 KiB header page, then `capacity` bytes (a power of two). Each record: u32 length, u32 CRC-32C of the
// payload, payload, padded to 8 bytes; a record never wraps (a length of 0xffffffff says: go on at the start).
// Positions in the header only grow. One producer at a time (the caller's lock), one consumer (flock on the file).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace oboro::event {

// Counters that the producer keeps beside the records, for `oboro status` of a running guest.
struct RingCounters {
  std::atomic<uint64_t> hooks_armed{0};
  std::atomic<uint64_t> records{0};
  std::atomic<uint64_t> lost{0};
  std::atomic<uint64_t> incomplete{0};        // number of reasons
  std::atomic<uint64_t> managed_files{0};
  std::atomic<uint64_t> managed_processes{0};
  std::atomic<uint64_t> managed_sockets{0};
  std::atomic<uint64_t> operations{0};        // hook calls that looked at an object
  std::atomic<uint64_t> last_seq{0};
};

class Ring {
 public:
  // Creates the file (mode 0600, its blocks really allocated: a full disk shows here, not as SIGBUS later).
  static Result<Ring> create(const std::string& path, size_t capacity);
  // Opens an existing one. Errors: invalid if header or size are wrong.
  static Result<Ring> open(const std::string& path);
  static Result<Ring> attach(UniqueFd fd);
  Ring(Ring&&) noexcept;
  Ring& operator=(Ring&&) noexcept;
  ~Ring();

  // Producer. False if there is no room now. Wakes the consumer (a system call only if it sleeps).
  bool push(std::span<const std::byte> record);
  // Producer: waits until there is room for `bytes`, at most timeout_ms. False on time-out.
  bool wait_for_room(size_t bytes, int timeout_ms);

  // Consumer. Copies the next record out, once; false if there is none. A damaged record (bad length or CRC) resets the
  // ring to the producer's position and is reported through *damaged.
  bool pop(std::vector<std::byte>& out, bool* damaged);
  // Consumer: sleeps until there may be a record, at most timeout_ms.
  void wait_for_record(int timeout_ms);

  RingCounters& counters();
  const RingCounters& counters() const;
  int fd() const;

 private:
  struct Header;
  Ring(UniqueFd fd, void* base, size_t mapped);
  UniqueFd fd_;
  Header* header_ = nullptr;
  std::byte* data_ = nullptr;
  size_t mapped_ = 0;
};

}  // namespace oboro::event
