#include "supervisor/checkpoint.h"

#include <fmt/format.h>
#include <span>

#include "base/number.h"
#include "store/files.h"
#include "store/journal/bytes.h"
#include "store/label_names.h"
#include "stream/crc32c.h"

namespace oboro::supervisor {
namespace {

constexpr std::string_view kMagic = "oboro-checkpoint ";
constexpr int kVersion = 1;
constexpr uint64_t kIdBound = uint64_t{1} << 56;  // history::ObjectKey

uint32_t checksum(std::string_view text) { return stream::crc32c(std::as_bytes(std::span(text))); }

// Names are bytes. A byte that would end a word or a line, and '%', are written %XX.
void append_word(std::string_view bytes, std::string& out) {
  for (const char c : bytes)
    if (static_cast<uint8_t>(c) <= ' ' || c == '%' || c == 0x7f)
      fmt::format_to(std::back_inserter(out), "%{:02x}", c);
    else
      out += c;
}

bool read_word(std::string_view text, std::string& out) {
  out.clear();
  while (!text.empty()) {
    const char c = text.front();
    uint8_t byte = 0;
    if (static_cast<uint8_t>(c) <= ' ') return false;
    if (c == '%' && (text.size() < 3 || !parse_number(text.substr(1, 2), byte, 16))) return false;
    out += c == '%' ? static_cast<char>(byte) : c;
    text.remove_prefix(c == '%' ? 3 : 1);
  }
  return true;
}

// Takes the next word off `line`.
std::string_view word(std::string_view& line) {
  const size_t end = std::min(line.find(' '), line.size());
  const std::string_view taken = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return taken;
}

// Fills a checkpoint, line by line.
class Parser {
 public:
  explicit Parser(Checkpoint& out) : out_(out), state_(out.state) {}

  // Why the line is refused; empty if it is in form.
  std::string_view take(std::string_view line) {
    const std::string_view key = word(line);
    if (key == "cursor") {
      auto cursor = stream::Cursor::parse(line);
      if (!cursor || *cursor == stream::Cursor{} || out_.cursor != stream::Cursor{}) return "is no cursor";
      out_.cursor = *cursor;
      return "";
    }
    if (key == "next-id")
      return parse_number(line, state_.next_id) && state_.next_id > 0 && state_.next_id <= kIdBound ? "" : "is no ID";
    if (key == "last-seq") return parse_number(line, state_.last_seq) ? "" : "is no number of an event";
    if (key == "boot") return parse_number(line, state_.boot) ? "" : "is no number of a boot";
    if (key == "label") return label(line) ? "" : "is no label, or is there twice";
    if (key == "place") return place(line) ? "" : "is no place behind the one before it";
    if (key == "renamed") return renamed(line) ? "" : "is no rename";
    if (key == "fs") {
      return read_word(word(line), fs_) && history::is_persistent(fs_) && read_word(line, fs_type_)
                 ? ""
                 : "is no file system that outlives a boot";
    }
    if (key == "file") return file(line);
    if (key == "name" || key == "last-name") return name(line, key == "name") ? "" : "is no name of the file before it";
    return "begins with no word that is known";
  }

  // Why the lines so far are not all; empty if they are.
  std::string_view end() const {
    if (out_.cursor == stream::Cursor{}) return "has no cursor";
    if (state_.next_id <= last_id_) return "has an ID that is not given yet";
    return "";
  }

 private:
  bool place(std::string_view line) {
    Place next;
    const Place last = out_.places.empty() ? Place{} : out_.places.back();
    auto cursor = stream::Cursor::parse(word(line));
    if (!cursor || !parse_number(line, next.highest)) return false;
    next.cursor = *cursor;
    if (next.cursor.offset <= last.cursor.offset || next.cursor.offset > out_.cursor.offset ||
        next.highest < last.highest)
      return false;
    out_.places.push_back(next);
    return true;
  }

  bool label(std::string_view line) {
    int bit = 0;
    if (!parse_number(word(line), bit) || bit < 0 || bit >= 64 || !store::is_label_name(line)) return false;
    named_ |= uint64_t{1} << bit;
    for (const auto& [other, known] : out_.labels)
      if (known == line) return false;
    return out_.labels.emplace(bit, line).second;
  }

  bool renamed(std::string_view line) {
    history::Lasting::Rename& last = state_.last_rename;
    return parse_number(word(line), last.inode) && read_word(word(line), last.fs) && read_word(word(line), last.from) &&
           read_word(line, last.to);
  }

  std::string_view file(std::string_view line) {
    history::PersistentFile known;
    if (!parse_number(word(line), known.inode) || !parse_number(word(line), known.generation) ||
        !parse_number(word(line), known.labels, 16) || !parse_number(line, known.id))
      return "is no file";
    if (fs_.empty()) return "is a file of no file system";
    if (known.labels == 0 || (known.labels & ~named_) != 0) return "is a file with labels that have no name";
    if (known.id <= last_id_ || known.id >= kIdBound) return "is a file whose ID is not above those before it";
    last_id_ = known.id;
    known.fs = fs_;
    known.fs_type = fs_type_;
    state_.files.push_back(std::move(known));
    return "";
  }

  bool name(std::string_view line, bool present) {
    std::string bytes;
    if (state_.files.empty() || !read_word(line, bytes) || bytes.empty()) return false;
    history::PersistentFile& known = state_.files.back();
    if (!present && (!known.names.empty() || !known.last_path.empty())) return false;
    if (!present) {
      known.last_path = std::move(bytes);
      return true;
    }
    if (!bytes.starts_with('/') || !known.last_path.empty()) return false;
    known.names.push_back(std::move(bytes));
    return true;
  }

  Checkpoint& out_;
  history::Lasting& state_;
  std::string fs_, fs_type_;
  uint64_t named_ = 0, last_id_ = 0;
};

}  // namespace

std::string checkpoint_path(const std::string& state_directory) { return state_directory + "/checkpoint"; }

std::string segment_checkpoint_path(const std::string& directory, uint64_t begin) {
  return fmt::format("{}/{:020}.checkpoint", store::segments_path(directory), begin);
}

Result<Checkpoint> read_checkpoint(const std::string& path) {
  const auto text = store::read_file(path, Checkpoint::kMaxSize);
  return text ? Checkpoint::parse(*text, path) : text.error();
}

Result<stream::Reader> open_before(const std::string& directory, uint64_t seq) {
  const auto checkpoint = read_checkpoint(checkpoint_path(directory));
  if (!checkpoint) return stream::Reader::open(directory);
  const auto& places = checkpoint->places;
  // The last place before which no event has the number.
  const auto after =
      std::partition_point(places.begin(), places.end(), [&](const Place& p) { return p.highest < seq; });
  if (after == places.begin()) return stream::Reader::open(directory);
  const stream::Cursor& cursor = std::prev(after)->cursor;
  auto reader = stream::Reader::open(directory, cursor);
  return reader && reader->cursor() == cursor ? std::move(reader) : stream::Reader::open(directory);
}

std::string Checkpoint::format() const {
  std::string body = fmt::format("cursor {}\nnext-id {}\nlast-seq {}\nboot {}\n", cursor.text(), state.next_id,
                                 state.last_seq, state.boot);
  const auto out = std::back_inserter(body);
  const auto words = [&](std::string_view key, std::initializer_list<std::string_view> list) {
    body += key;
    for (const std::string_view one : list) {
      body += ' ';
      append_word(one, body);
    }
    body += '\n';
  };
  for (const auto& [bit, name] : labels) fmt::format_to(out, "label {} {}\n", bit, name);
  for (const Place& place : places) fmt::format_to(out, "place {} {}\n", place.cursor.text(), place.highest);
  if (const auto& last = state.last_rename; last != history::Lasting::Rename{})
    words(fmt::format("renamed {}", last.inode), {last.fs, last.from, last.to});
  const history::PersistentFile* before = nullptr;
  for (const history::PersistentFile& known : state.files) {
    if (before == nullptr || known.fs != before->fs || known.fs_type != before->fs_type)
      words("fs", {known.fs, known.fs_type});
    before = &known;
    fmt::format_to(out, "file {} {} {:x} {}\n", known.inode, known.generation, known.labels, known.id);
    for (const std::string& name : known.names) words("name", {name});
    if (known.names.empty() && !known.last_path.empty()) words("last-name", {known.last_path});
  }
  return fmt::format("{}{} {:08x}\n", kMagic, kVersion, checksum(body)) + body;
}

Result<Checkpoint> Checkpoint::parse(std::string_view text, const std::string& where) {
  const Error foreign{Errc::invalid, where + ": is no checkpoint"};
  if (!text.starts_with(kMagic)) return foreign;
  const size_t head = text.find('\n');
  if (head == std::string_view::npos) return foreign;
  std::string_view line = text.substr(kMagic.size(), head - kMagic.size());
  text.remove_prefix(head + 1);
  int version = 0;
  if (!parse_number(word(line), version)) return foreign;
  if (version != kVersion)
    return Error{Errc::unsupported, fmt::format("{}: is of version {}, not {}", where, version, kVersion)};
  if (line != fmt::format("{:08x}", checksum(text)))
    return Error{Errc::invalid, where + ": is damaged (its checksum is another)"};
  Checkpoint checkpoint;
  Parser parser(checkpoint);
  for (uint64_t number = 2; !text.empty(); ++number) {
    const size_t end = text.find('\n');
    const std::string_view why = end == std::string_view::npos ? "is cut off" : parser.take(text.substr(0, end));
    if (!why.empty()) return Error{Errc::invalid, fmt::format("{}: line {} {}", where, number, why)};
    text.remove_prefix(end + 1);
  }
  if (const std::string_view why = parser.end(); !why.empty())
    return Error{Errc::invalid, fmt::format("{}: {}", where, why)};
  return checkpoint;
}

}  // namespace oboro::supervisor
