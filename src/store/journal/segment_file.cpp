#include "store/journal/segment_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "base/io_error.h"
#include "store/files.h"
#include "store/journal/free_space.h"

namespace oboro::store {
namespace {

// zstd's contrib/seekable_format: a skippable frame {magic, size, {compressed, content}..., count, 0, magic}, all
// little endian as the hosts are.
constexpr uint32_t kSkippable = 0x184D2A5E, kSeekable = 0x8F92EAB1;
constexpr size_t kHead = 8, kEntry = 8, kFoot = 9;
constexpr int kLevel = 3;

uint32_t get(const char* from) {
  uint32_t value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

void put(std::string& out, uint32_t value) { out.append(reinterpret_cast<const char*>(&value), sizeof value); }

// Appends the bytes there, at most `wanted`. False, with errno, if they cannot be read.
bool read_plain(int fd, size_t wanted, uint64_t offset, std::string& block) {
  const size_t had = block.size();
  block.resize(had + wanted);
  size_t done = 0;
  while (done < wanted) {
    const ssize_t count = ::pread(fd, block.data() + had + done, wanted - done, static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return false;
    if (count == 0) break;
    done += static_cast<size_t>(count);
  }
  block.resize(had + done);
  return true;
}

Error damaged(const std::string& path, const char* what) { return {Errc::invalid, path + ": is damaged: " + what}; }

}  // namespace

Result<SegmentFile> SegmentFile::open(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW));
  if (!fd) return io_error(path);
  SegmentFile file(std::move(fd), path);
  if (path.ends_with(".zst"))
    if (auto read = file.read_table(); !read) return read.error();
  return file;
}

Result<void> SegmentFile::read_table() {
  struct stat status {};
  if (::fstat(fd_.get(), &status) != 0) return io_error(path_);
  const auto size = static_cast<uint64_t>(status.st_size);
  std::string foot, table;
  if (size < kHead + kFoot || !read_plain(fd_.get(), kFoot, size - kFoot, foot) || foot.size() != kFoot ||
      get(foot.data() + 5) != kSeekable || foot[4] != 0)
    return damaged(path_, "it has no seek table");
  const size_t count = get(foot.data());
  const uint64_t length = kHead + count * kEntry + kFoot;
  if (count > kMaxFrames || length > size || !read_plain(fd_.get(), length, size - length, table) ||
      table.size() != length || get(table.data()) != kSkippable || get(table.data() + 4) != length - kHead)
    return damaged(path_, "its seek table is not in form");
  Frame next;
  for (size_t i = 0; i < count; ++i) {
    frames_.push_back(next);
    const uint32_t compressed = get(table.data() + kHead + i * kEntry),
                   content = get(table.data() + kHead + i * kEntry + 4);
    if (content == 0 || content > kFrame || compressed > ZSTD_compressBound(kFrame))
      return damaged(path_, "its seek table has a frame of a wrong size");
    next.at += compressed;
    next.content += content;
  }
  frames_.push_back(next);
  return next.at == size - length ? Result<void>() : damaged(path_, "its seek table is another file's");
}

Result<void> SegmentFile::decompress(size_t frame) {
  if (held_ == frame) return {};
  held_ = SIZE_MAX;
  std::string bytes;
  const Frame& here = frames_[frame];
  const Frame& next = frames_[frame + 1];
  if (!read_plain(fd_.get(), next.at - here.at, here.at, bytes)) return io_error(path_);
  content_.resize(next.content - here.content);
  const size_t size = ZSTD_decompress(content_.data(), content_.size(), bytes.data(), bytes.size());
  if (ZSTD_isError(size) || size != content_.size()) return damaged(path_, "a frame cannot be decompressed");
  held_ = frame;
  return {};
}

Result<void> SegmentFile::read(uint64_t offset, size_t wanted, std::string& block) {
  if (frames_.empty()) return read_plain(fd_.get(), wanted, offset, block) ? Result<void>() : io_error(path_);
  while (wanted > 0 && offset < frames_.back().content) {
    const auto behind = std::ranges::upper_bound(frames_, offset, {}, &Frame::content);
    const auto frame = static_cast<size_t>(behind - frames_.begin()) - 1;
    if (auto done = decompress(frame); !done) return done;
    const size_t at = offset - frames_[frame].content;
    const size_t count = std::min(wanted, content_.size() - at);
    block.append(content_, at, count);
    offset += count;
    wanted -= count;
  }
  return {};
}

Result<uint64_t> SegmentFile::size() const {
  if (!frames_.empty()) return frames_.back().content;
  struct stat status {};
  if (::fstat(fd_.get(), &status) != 0) return io_error(path_);
  return static_cast<uint64_t>(status.st_size);
}

Result<void> compress_segment(const std::string& from, const std::string& to) {
  const UniqueFd source(::open(from.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!source) return io_error(from);
  const std::string path = to + ".new";
  const UniqueFd target(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!target) return io_error(path);
  FreeSpace space = journal_space();
  const std::unique_ptr<ZSTD_CCtx, size_t (*)(ZSTD_CCtx*)> context(ZSTD_createCCtx(), ZSTD_freeCCtx);
  if (!context) return Error{Errc::limit, from + ": no memory to compress it"};
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_compressionLevel, kLevel);
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_checksumFlag, 1);
  std::string content, compressed, table;
  uint32_t count = 0;
  Result<void> result;
  for (uint64_t offset = 0; result; offset += content.size()) {
    content.clear();
    if (!read_plain(source.get(), SegmentFile::kFrame, offset, content)) result = io_error(from);
    if (!result || content.empty()) break;
    compressed.resize(ZSTD_compressBound(content.size()));
    const size_t size =
        ZSTD_compress2(context.get(), compressed.data(), compressed.size(), content.data(), content.size());
    if (ZSTD_isError(size) || ++count > SegmentFile::kMaxFrames)
      result = Error{Errc::limit, from + ": cannot be compressed"};
    else if (!space.take(target.get(), size))
      result = Error{Errc::limit, path + ": the disk is full, but for the hundredth that is to stay free"};
    else if (!write_all(target.get(), std::string_view(compressed).substr(0, size)))
      result = io_error(path);
    put(table, static_cast<uint32_t>(size));
    put(table, static_cast<uint32_t>(content.size()));
  }
  std::string end;
  put(end, kSkippable);
  put(end, static_cast<uint32_t>(table.size() + kFoot));
  end += table;
  put(end, count);
  end += '\0';
  put(end, kSeekable);
  // It is as old as its last event.
  struct stat status {};
  if (result && ::fstat(source.get(), &status) != 0) result = io_error(from);
  const timespec times[] = {status.st_atim, status.st_mtim};
  if (result && (!write_all(target.get(), end) || ::futimens(target.get(), times) != 0 ||
                 ::fdatasync(target.get()) != 0 || ::rename(path.c_str(), to.c_str()) != 0))
    result = io_error(path);
  if (!result) ::unlink(path.c_str());
  return result;
}

}  // namespace oboro::store
