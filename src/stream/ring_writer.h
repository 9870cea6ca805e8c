// The writing side of a ring (ring.h), in the QEMU process. Nothing here allocates, and no system call is made unless
// the other side sleeps, or there is no room.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "stream/mapping.h"
#include "stream/ring.h"

namespace oboro::stream {

class RingWriter {
 public:
  // Descriptors of a ring's two files; the reader's cannot be written by.
  struct Files {
    UniqueFd ring, read;
  };
  static Result<Files> files(const std::string& path);

  // Maps both files, and closes the descriptors: by them QEMU could cut the file off, or fill the disk. Errors: invalid
  // (no such files, or they do not belong together), unsupported (of another version), io.
  static Result<RingWriter> attach(Files files);
  static Result<RingWriter> open(const std::string& path);

  // What a record may fill: a quarter of the ring is for those that must not be lost, however many others come.
  enum class Part : uint8_t { all, shared };
  // False if there is no room now, or never will be (over max_record()). Wakes the reader (by a system call only if it
  // sleeps).
  bool push(std::span<const std::byte> record, Part part = Part::all);
  // Waits until there is room for `bytes`, at most timeout_ms. False on time-out.
  bool wait_for_room(size_t bytes, int timeout_ms, Part part = Part::all);

  size_t max_record(Part part = Part::all) const { return format::max_record(size(part)); }
  RingCounters& counters() { return own().counters; }
  const RingCounters& counters() const { return own().counters; }

 private:
  RingWriter(Mapping ring, Mapping read, size_t capacity)
      : ring_(std::move(ring)), read_(std::move(read)), capacity_(capacity) {}
  size_t size(Part part) const { return part == Part::all ? capacity_ : format::shared_part(capacity_); }
  format::WriterPage& own() const { return *static_cast<format::WriterPage*>(ring_.get()); }
  const format::ReaderPage& reader() const { return *static_cast<const format::ReaderPage*>(read_.get()); }

  Mapping ring_, read_;
  size_t capacity_ = 0;
  uint32_t woken_ = 0;  // the reader's sleep that has had its wake-up
};

}  // namespace oboro::stream
