// A ring of records in files of the state directory: the only way from the QEMU process (ring_writer.h) to the journal
// (ring_reader.h). Its records survive the end of either side, by any signal. The next reader goes on where the last
// one stopped. QEMU may be in the hands of its guest, so the two sides share nothing that both may write (decision
// 024):
//
// - RING, the writer's: one 4 KiB page, then `capacity` bytes (a power of two). The writer maps it. The reader only
//   reads the file, so that a file that has been cut short gives it an error and no signal.
// - RING.read, the reader's: one 4 KiB page, which says how far the reader has come. The writer has it mapped
// read-only.
//
// Each record: u32 length, u32 CRC-32C of the payload, payload, padded to 8 bytes; a record never wraps (a length of
// 0xffffffff says: go on at the start). Positions only grow. One writer at a time (the caller's lock), one reader
// (flock on RING.read), any number of onlookers.
//
// A record becomes visible by one store of the writer's position, after all its bytes are there: a writer that is
// killed in the middle leaves nothing behind.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

namespace oboro::stream {

// Counters that the writer keeps beside the records, for `oboro status` about a running guest.
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

inline std::string ring_path(const std::string& state_directory) { return state_directory + "/ring"; }

// Of the reader's file beside the ring at that path.
inline std::string read_path(const std::string& ring) { return ring + ".read"; }

// What is in the two files.
namespace format {

inline constexpr size_t kPage = 4096;
inline constexpr size_t kMinCapacity = 4096;
inline constexpr size_t kMaxCapacity = size_t{1} << 30;
inline constexpr uint32_t kVersion = 2;
inline constexpr char kRingMagic[8] = {'O', 'B', 'O', 'R', 'O', 'R', 'N', 'G'};
inline constexpr char kReadMagic[8] = {'O', 'B', 'O', 'R', 'O', 'R', 'D', 'P'};

struct Start {
  char magic[8];
  uint32_t version;
  uint32_t page;
  uint64_t id;  // the same in both files of a ring
};

// The reader's position and what it sleeps for are the reader's; the writer's are the writer's. A side that goes to
// sleep says so, and then looks at the other side's position again. A side that moves its position does that first, and
// then looks whether the other side sleeps. At least one of the two sees the other (Dekker): no wake-up is lost.
struct WriterPage {
  Start start;
  alignas(64) std::atomic<uint64_t> position;
  std::atomic<uint32_t> wakes;  // futex word of the reader's sleep: goes up with each wake-up
  alignas(64) RingCounters counters;
};
static_assert(offsetof(WriterPage, position) == 64 && offsetof(WriterPage, counters) == 128, "as docs/formats.md says");

struct ReaderPage {
  Start start;
  alignas(64) std::atomic<uint64_t> position;
  std::atomic<uint32_t> takes;   // futex word of the writer's sleep: goes up with each position
  std::atomic<uint32_t> sleeps;  // goes up when the reader goes to sleep, and when it wakes up: odd, it sleeps
};
static_assert(offsetof(ReaderPage, position) == 64 && sizeof(WriterPage) <= kPage && sizeof(ReaderPage) <= kPage);
static_assert(std::atomic<uint64_t>::is_always_lock_free && std::atomic<uint32_t>::is_always_lock_free);

struct RecordHeader {
  uint32_t length;
  uint32_t crc;
};
inline constexpr uint32_t kWrap = 0xffffffff;  // a length
static_assert(sizeof(RecordHeader) == 8);

constexpr uint64_t padded(uint64_t length) { return (length + 7) & ~uint64_t{7}; }

// The longest record: it fits wherever the position stands.
constexpr size_t max_record(size_t capacity) { return capacity / 2 - sizeof(RecordHeader); }

// So much of a ring the records may fill that are not of the kept kinds (event::Room).
constexpr size_t shared_part(size_t capacity) { return capacity - capacity / 4; }

}  // namespace format
}  // namespace oboro::stream
