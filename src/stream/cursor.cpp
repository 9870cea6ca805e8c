#include "stream/cursor.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <optional>
#include <span>

#include "base/number.h"
#include "store/journal/reader.h"
#include "store/json.h"
#include "stream/crc32c.h"

namespace oboro::stream {
namespace {

constexpr size_t kIdentified = 4096;  // bytes of a first line

// The line that ends at `offset`, without '\n'; nothing if no line of a permitted length ends there, or if it cannot be
// read.
std::optional<std::string> line_before(store::JournalBytes& journal, uint64_t offset) {
  if (offset < journal.begin()) return std::nullopt;
  const uint64_t most = std::min<uint64_t>(offset - journal.begin(), store::kMaxLine + 2);
  std::string block;
  for (uint64_t size = std::min<uint64_t>(most, 8192); size > 0; size = most) {
    if (!journal.read(offset - size, size, block) || block.size() != size || block.back() != '\n') return std::nullopt;
    block.pop_back();
    const size_t begin = block.rfind('\n') + 1;  // npos + 1 == 0
    if (begin != 0 || size == offset - journal.begin()) return block.substr(begin);
    if (size == most) break;
  }
  return std::nullopt;
}

// Whether the line that ends at the cursor's offset is the cursor's.
bool is_line_before(store::JournalBytes& journal, const Cursor& cursor) {
  const auto line = line_before(journal, cursor.offset);
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

Result<uint32_t> identify_journal(store::JournalBytes& journal) {
  std::string block;
  if (auto read = journal.read(journal.begin(), kIdentified, block); !read) return read.error();
  const size_t end = block.find('\n');
  if (end == std::string::npos && block.size() < kIdentified) return 0u;
  const std::string_view line = std::string_view(block).substr(0, end);
  if (journal.begin() == 0) return crc32c(std::as_bytes(std::span(line)));
  store::LabelNames scratch;
  const auto event = store::read_event(line, scratch);
  uint32_t identity = 0;
  if (!event || event->kind != event::Kind::segment ||
      !parse_number(event->as<event::SegmentBegin>().journal, identity, 16))
    return Error{Errc::invalid, "journal: its oldest segment does not say which journal it is of"};
  return identity;
}

Result<bool> is_there(store::JournalBytes& journal, const Cursor& cursor) {
  const auto identity = identify_journal(journal);
  if (!identity) return identity.error();
  return *identity == cursor.journal && is_line_before(journal, cursor);
}

Result<Cursor> find_cursor(const std::string& directory, const Cursor& cursor) {
  if (cursor == Cursor{}) return cursor;
  auto reader = store::JournalReader::open(directory);
  if (!reader) return reader.error();
  store::JournalBytes& journal = reader->bytes();
  const std::string path = store::journal_path(directory);
  const auto identity = identify_journal(journal);
  if (!identity) return identity.error();
  if (*identity != cursor.journal) return not_there(path, cursor, "is another journal");
  // Retention may have taken all up to the line, and the line itself.
  if (cursor.offset == journal.begin()) return cursor;
  if (is_line_before(journal, cursor)) return cursor;
  if (cursor.offset < journal.begin())
    return not_there(
        path, cursor,
        "has lost that place to retention; what is left begins at byte " + std::to_string(journal.begin()));

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
  const auto end = journal.end();
  if (!end) return end.error();
  return not_there(path, cursor,
                   *end < cursor.offset ? "ends at byte " + std::to_string(*end) +
                                              ", before it: the end was lost or cut off; go on from its last event "
                                              "that is known"
                                        : "does not have its line: it was changed; go on from an event that is known");
}

Result<Cursor> cursor_at_end(const std::string& directory, uint64_t seq) {
  auto journal = store::JournalBytes::open(directory);
  if (!journal) return journal.error();
  const auto identity = identify_journal(*journal);
  if (!identity) return identity.error();
  const auto offset = journal->end();
  if (!offset) return offset.error();
  const auto line = line_before(*journal, *offset);
  store::LabelNames scratch;
  const auto event = line ? store::read_event(*line, scratch) : Error{Errc::invalid, "no line"};
  if (!event)
    return Error{Errc::invalid, store::journal_path(directory) + ": its end is no event: " + event.error().message};
  return Cursor{*identity, *offset, event->seq != 0 ? event->seq : seq, crc32c(std::as_bytes(std::span(*line)))};
}

}  // namespace oboro::stream
