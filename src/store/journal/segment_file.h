// One file of the journal, plain or compressed: its content, at any place. Compressed ones end with ".zst": independent
// zstd frames of kFrame bytes of content at most, and behind them the seek table of the zstd seekable format, which the
// zstd tool passes over.
//
// The file is taken as hostile. Threads: one at a time.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace oboro::store {

class SegmentFile {
 public:
  static constexpr size_t kFrame = 1 << 20;
  static constexpr size_t kMaxFrames = 64 * 1024;

  // Errors: not_found, io, invalid (a compressed one that is not in form).
  static Result<SegmentFile> open(const std::string& path);

  // The bytes of its content from `offset` on, at most `wanted`: fewer only where it ends. They are appended to
  // `block`. Errors: io, invalid (a frame is damaged).
  Result<void> read(uint64_t offset, size_t wanted, std::string& block);
  // Of the content. A plain file grows. Error: io.
  Result<uint64_t> size() const;
  int fd() const { return fd_.get(); }

 private:
  struct Frame {
    uint64_t at = 0, content = 0;  // where it begins in the file, and its content in the segment
  };
  SegmentFile(UniqueFd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}
  Result<void> read_table();
  Result<void> decompress(size_t frame);

  UniqueFd fd_;
  std::string path_;
  std::vector<Frame> frames_;  // of a compressed one: and the end of the last one
  size_t held_ = SIZE_MAX;     // the frame whose content is in content_
  std::string content_;
};

// Writes the compressed form of the plain file `from` as `to`, which appears whole or not at all, and is on the disk
// then. Errors: io, limit (the disk is as good as full, or the file too long).
Result<void> compress_segment(const std::string& from, const std::string& to);

}  // namespace oboro::store
