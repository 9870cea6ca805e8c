// The reading side of a ring (ring.h): the journal's, and that of onlookers. It trusts nothing that the writer has: its
// own position and the capacity are its own, every value is read once and bounded, each record is copied and then
// checked. What is wrong with the ring is told, once each time, and reading goes on at the writer's position.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "stream/mapping.h"
#include "stream/ring.h"

namespace oboro::stream {

class RingReader {
 public:
  // Creates the files (mode 0600, their blocks really allocated: a full disk shows here, not as SIGBUS later), and is
  // the ring's only reader. An older ring at that path is removed: a QEMU that still has it cannot touch the new one.
  static Result<RingReader> create(const std::string& path, size_t capacity);
  // The only reader of an existing ring, from where the last one stopped. Errors: not_found, invalid (what is there is
  // no ring), unsupported (of another version), limit (somebody else reads it), io.
  static Result<RingReader> open(const std::string& path);
  // An onlooker, which takes nothing. A record that is taken meanwhile is skipped. Errors: as open(), without limit.
  static Result<RingReader> look(const std::string& path);

  enum class Next { nothing, record, damaged };
  // The next record, which stays valid until the next call. After `damaged`, damage() says what was wrong; all that was
  // in the ring is lost, and the next call goes on with what comes then.
  Next next(std::span<const std::byte>& record);
  const std::string& damage() const { return damage_; }
  uint64_t position() const { return position_; }  // behind the last record; only grows by bytes of the ring

  // Gives the room of all records that next() has given to the writer. Not for onlookers.
  void take();
  // Sleeps until there may be a record, at most timeout_ms. Not for onlookers.
  void wait_for_record(int timeout_ms);

  // As the writer has them now. (All 0 if they cannot be read.)
  const RingCounters& counters();
  size_t capacity() const { return capacity_; }

 private:
  RingReader(UniqueFd ring, UniqueFd read, size_t capacity)
      : ring_(std::move(ring)), read_(std::move(read)), capacity_(capacity) {}
  static Result<RingReader> attach(const std::string& path, bool onlooker);
  Result<void> check();
  Result<void> become_reader();
  bool read(void* to, size_t size, uint64_t offset);
  bool look_at_writer();
  const std::byte* bytes(uint64_t position, size_t size);
  bool copy_record(std::span<const std::byte>& record);
  bool damaged(std::string why);
  format::ReaderPage& own() const { return *static_cast<format::ReaderPage*>(own_.get()); }

  UniqueFd ring_, read_;
  size_t capacity_;
  Mapping own_{nullptr, Unmap{format::kPage}};  // RING.read; an onlooker has none
  // The writer's page, as an address for futex(2) and for nothing else: a load could end in SIGBUS, that call cannot.
  Mapping futex_{nullptr, Unmap{format::kPage}};
  uint64_t position_ = 0;
  uint64_t written_ = 0;  // the writer's position when it was looked at last
  uint32_t wakes_ = 0;    // and its wake-ups
  uint64_t taken_ = 0;    // for an onlooker: the reader's position when it was looked at last
  bool unreadable_ = false;
  std::string damage_;
  std::vector<std::byte> buffer_;  // a copy of what is in the ring at buffer_at_
  uint64_t buffer_at_ = 0;
  std::unique_ptr<RingCounters> counters_ = std::make_unique<RingCounters>();
};

}  // namespace oboro::stream
