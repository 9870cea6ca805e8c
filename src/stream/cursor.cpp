#include "stream/cursor.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <fcntl.h>
#include <optional>
#include <span>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/io_error.h"
#include "base/number.h"
#include "store/journal.h"
#include "store/json.h"
#include "stream/crc32c.h"

namespace oboro::stream {
namespace {

constexpr size_t kIdentified = 4096;  // bytes of a first line

// The bytes there, at most `size` of them.
std::optional<std::string> read_block(int fd, uint64_t offset, size_t size) {
  std::string block(size, '\0');
  size_t done = 0;
  while (done < size) {
    const ssize_t count = ::pread(fd, block.data() + done, size - done, static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return std::nullopt;
    if (count == 0) break;
    done += static_cast<size_t>(count);
  }
  block.resize(done);
  return block;
}

// The line that ends at `offset`, without '
// '; nothing if no line of a permitted length ends there, or if it cannot be read.
std::optional<std::string> line_before(int fd, uint64_t offset) {
  const uint64_t most = std::min<uint64_t>(offset, store::kMaxLine + 2);
  for (uint64_t size = std::min<uint64_t>(most, 8192); size > 0; size = most) {
    auto block = read_block(fd, offset - size, size);
    if (!block || block->size() != size || block->back() != '\n') return std::nullopt;
    block->pop_back();
    const size_t begin = block->rfind('\n') + 1;  // npos + 1 == 0
    if (begin != 0 || size == offset) return block->substr(begin);
    if (size == most) break;
  }
  return std::nullopt;
}

// Whether the line that ends at the cursor's offset is the cursor's.
bool is_line_before(int fd, const Cursor& cursor) {
  const auto line = line_before(fd, cursor.offset);
  if (!line || crc32c(std::as_bytes(std::span(*line))) != cursor.line) return false;
  store::LabelNames scratch;
  const auto event = store::read_event(*line, scratch);
  return event && (event->seq == 0 || event->seq == cursor.seq);
}

Error not_there(const std::string& path, const Cursor& cursor, const std::string& why) {
  return {Errc::invalid, "cursor " + cursor.text() + ": " + path + " " + why};
}

}  // namespace

std::string Cursor::text() const {
  char out[64];
  std::snprintf(out, sizeof out, "%08" PRIx32 ":%" PRIu64 ":%" PRIu64 ":%08" PRIx32, journal, offset, seq, line);
  return out;
}

Result<Cursor> Cursor::parse(std::string_view text) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  const Error error{Errc::invalid,
                    "\"" + std::string(text.substr(0, 80)) + "\" is not a cursor, such as 1f2e3d4c:20480:57:0a1b2c3d"};
  std::string_view parts[4];
  std::string_view rest = text;
  for (std::string_view& part : parts) {
    const size_t end = std::min(rest.find(':'), rest.size());
    part = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  Cursor cursor;
  if (!parse_number(parts[0], cursor.journal, 16) || !parse_number(parts[1], cursor.offset) ||
      !parse_number(parts[2], cursor.seq) || !parse_number(parts[3], cursor.line, 16))
    return error;
  // A cursor has one text: no leading zeros, capitals or further parts. The beginning belongs to any journal.
  if (cursor.text() != text || (cursor.offset == 0 && cursor != Cursor{}) || cursor.offset > INT64_MAX) return error;
  return cursor;
}

Result<uint32_t> identify_journal(int fd) {
  const auto block = read_block(fd, 0, kIdentified);
  if (!block) return io_error("journal");
  const size_t end = block->find('\n');
  if (end == std::string::npos && block->size() < kIdentified) return 0u;
  return crc32c(std::as_bytes(std::span(*block).first(std::min(end, block->size()))));
}

Result<Cursor> find_cursor(int fd, const std::string& path, const Cursor& cursor) {
  if (cursor == Cursor{}) return cursor;
  const auto journal = identify_journal(fd);
  if (!journal) return journal.error();
  if (*journal != cursor.journal) return not_there(path, cursor, "is another journal");
  if (is_line_before(fd, cursor)) return cursor;

  auto reader = store::JournalReader::open(path);
  if (!reader) return reader.error();
  store::LabelNames labels;
  event::Event event;
  for (uint64_t seq = 0;;) {
    auto more = reader->next(event, labels);
    if (!more) return more.error();
    if (!*more) break;
    if (event.seq != 0) seq = event.seq;
    if (seq != cursor.seq || crc32c(std::as_bytes(std::span(reader->line()))) != cursor.line) continue;
    return Cursor{cursor.journal, reader->line_end(), cursor.seq, cursor.line};
  }
  struct stat status {};
  if (::fstat(fd, &status) != 0) return io_error(path);
  return not_there(path, cursor,
                   static_cast<uint64_t>(status.st_size) < cursor.offset
                       ? "ends at byte " + std::to_string(status.st_size) +
                             ", before it: the end was lost or cut off; go on from its last event that is known"
                       : "does not have its line: it was changed; go on from an event that is known");
}

Result<Cursor> cursor_at_end(const std::string& path, uint64_t seq) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status {};
  if (!fd || ::fstat(fd.get(), &status) != 0) return io_error(path);
  const auto journal = identify_journal(fd.get());
  if (!journal) return journal.error();
  const auto offset = static_cast<uint64_t>(status.st_size);
  const auto line = line_before(fd.get(), offset);
  store::LabelNames scratch;
  const auto event = line ? store::read_event(*line, scratch) : Error{Errc::invalid, "no line"};
  if (!event) return Error{Errc::invalid, path + ": its end is no event: " + event.error().message};
  return Cursor{*journal, offset, event->seq != 0 ? event->seq : seq, crc32c(std::as_bytes(std::span(*line)))};
}

}  // namespace oboro::stream
