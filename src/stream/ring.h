// A ring of records in a shared file mapping: the only way from the QEMU process to the journal. It lives in the state
// directory, so its records survive the end of either side, by any signal. The next reader goes on where the last one
// stopped.
//
// Layout: one 4 KiB header page, then `capacity` bytes (a power of two). Each record: u32 length, u32 CRC-32C of the
// payload, payload, padded to 8 bytes; a record never wraps (a length of 0xffffffff says: go on at the start).
// Positions in the header only grow. One producer at a time (the caller's lock), one consumer (flock on the file, see
// lock_consumer), any number of onlookers (open_read_only and peek).
//
// A record becomes visible by one store of the producer's position, after all its bytes are there: a producer that is
// killed in the middle leaves nothing behind. The consumer trusts nothing in the mapping: the capacity comes from the
// file's size, and each position, length and CRC is checked on the copy that is used.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace oboro::stream {

// Counters that the producer keeps beside the records, for `oboro status` about a running guest.
struct RingCounters {
  std::atomic<uint64_t> hooks_armed{0};
  std::atomic<uint64_t> records{0};
  std::atomic<uint64_t> lost{0};
  std::atomic<uint64_t> incomplete{0};  // number of reasons
  std::atomic<uint64_t> managed_files{0};
  std::atomic<uint64_t> managed_processes{0};
  std::atomic<uint64_t> managed_sockets{0};
  std::atomic<uint64_t> stops{0};            // KVM: hooked calls for which a vCPU left the guest
  std::atomic<uint64_t> hidden_calls{0};     // that a proxy executed
  std::atomic<uint64_t> hidden_pause_ns{0};  // for which a vCPU stood still for hidden services
  std::atomic<uint64_t> last_seq{0};
  std::atomic<uint64_t> boot{0};  // of the last record
};

class Ring {
 public:
  // Creates the file (mode 0600, its blocks really allocated: a full disk shows here, not as SIGBUS later).
  static Result<Ring> create(const std::string& path, size_t capacity);
  // Opens an existing one. Errors: invalid if header or size are wrong.
  static Result<Ring> open(const std::string& path);
  static Result<Ring> attach(UniqueFd fd);
  // For onlookers: only peek and counters() const.
  static Result<Ring> open_read_only(const std::string& path);
  Ring(Ring&&) noexcept;
  Ring& operator=(Ring&&) noexcept;
  ~Ring();

  // Producer. False if there is no room now, or never will be (over max_record()). Wakes the consumer (by a system call
  // only if it sleeps).
  bool push(std::span<const std::byte> record);
  // Producer: waits until there is room for `bytes`, at most timeout_ms. False on time-out.
  bool wait_for_room(size_t bytes, int timeout_ms);

  // Consumer. Copies the next record out, once; false if there is none. A damaged record (bad length or CRC) resets the
  // ring to the producer's position and is reported through *damaged.
  bool pop(std::vector<std::byte>& out, bool* damaged);

  // Consumer and onlookers: looks at the record at `position` without taking it, and sets position behind it. The first
  // position is 0 ("the oldest"). A position whose record has been taken meanwhile moves on to the oldest by itself.
  // Damage sets position to the producer's, as in pop().
  bool peek(uint64_t& position, std::vector<std::byte>& out, bool* damaged) const;
  // Consumer: takes all records before `position`. Together with peek(), this lets a consumer write a record down
  // safely first.
  void take(uint64_t position);
  // Consumer: makes this the only consumer of the file, until this Ring ends. Error: limit (there is another one). The
  // lock belongs to the open file description: the producer must not be given the same one.
  Result<void> lock_consumer();

  // Consumer: sleeps until there may be a record, at most timeout_ms.
  void wait_for_record(int timeout_ms);

  size_t max_record() const;  // bytes; half of the capacity, so that a record fits wherever the position stands
  RingCounters& counters();
  const RingCounters& counters() const;
  int fd() const;

 private:
  struct Header;
  enum class Copied { nothing, record, damaged };
  Ring(UniqueFd fd, void* base, size_t mapped);
  static Result<Ring> map(UniqueFd fd, bool writable);
  Copied copy_record(uint64_t position, uint64_t write, std::vector<std::byte>& out) const;
  size_t capacity() const;
  UniqueFd fd_;
  Header* header_ = nullptr;
  std::byte* data_ = nullptr;
  size_t mapped_ = 0;
};

}  // namespace oboro::stream
