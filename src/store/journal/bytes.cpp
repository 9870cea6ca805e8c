#include "store/journal/bytes.h"

#include <algorithm>
#include <cerrno>
#include <dirent.h>
#include <fmt/format.h>
#include <memory>
#include <sys/stat.h>

#include "base/io_error.h"
#include "base/number.h"
#include "store/json.h"

namespace oboro::store {
namespace {

constexpr size_t kDigits = 20;
constexpr std::string_view kPlain = ".jsonl", kCompressed = ".jsonl.zst";
constexpr size_t kLongestBeginning = 4096;
constexpr int kLooks = 3;  // at segments that are compressed or removed between two looks

bool parse_name(std::string_view name, uint64_t& begin) {
  if (name.size() <= kDigits || !parse_number(name.substr(0, kDigits), begin)) return false;
  return name.substr(kDigits) == kPlain || name.substr(kDigits) == kCompressed;
}

}  // namespace

std::string journal_path(const std::string& directory) { return directory + "/events.jsonl"; }
std::string segments_path(const std::string& directory) { return directory + "/journal"; }
std::string segment_path(const std::string& directory, uint64_t begin) {
  return fmt::format("{}/{:0{}}{}", segments_path(directory), begin, kDigits, kPlain);
}

Result<std::vector<Segment>> older_segments(const std::string& directory) {
  const std::string path = segments_path(directory);
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(path.c_str()), ::closedir);
  std::vector<Segment> found;
  if (!entries && errno == ENOENT) return found;
  if (!entries) return io_error(path);
  errno = 0;
  while (const dirent* entry = ::readdir(entries.get())) {
    uint64_t begin = 0;
    if (parse_name(entry->d_name, begin)) found.push_back({begin, path + "/" + entry->d_name});
  }
  if (errno != 0) return io_error(path);
  // ".jsonl" comes before ".jsonl.zst", and the last of two is kept.
  std::ranges::sort(found, {}, &Segment::path);
  std::vector<Segment> segments;
  for (Segment& segment : found) {
    if (!segments.empty() && segments.back().begin == segment.begin) segments.pop_back();
    segments.push_back(std::move(segment));
  }
  return segments;
}

Result<std::optional<event::SegmentBegin>> read_beginning(const std::string& path) {
  const std::optional<event::SegmentBegin> none;
  auto file = SegmentFile::open(path);
  if (!file) return file.error();
  std::string line;
  if (auto read = file->read(0, kLongestBeginning, line); !read) return read.error();
  const size_t end = line.find('\n');
  if (end == std::string::npos) return none;
  LabelNames scratch;
  const auto event = read_event(std::string_view(line).substr(0, end), scratch);
  if (!event || event->kind != event::Kind::segment) return none;
  return std::optional(event->as<event::SegmentBegin>());
}

Result<JournalBytes> JournalBytes::open(const std::string& directory) {
  JournalBytes bytes(directory);
  if (auto looked = bytes.look(); !looked) return looked.error();
  return bytes;
}

Result<void> JournalBytes::look() {
  // The newest segment first. If it is cut after that, it is listed as an older one, too.
  const std::string path = journal_path(directory_);
  const auto beginning = read_beginning(path);
  if (!beginning) return beginning.error();
  auto segments = older_segments(directory_);
  if (!segments) return segments.error();
  const uint64_t begin = *beginning ? (*beginning)->begin : 0;
  std::erase_if(*segments, [&](const Segment& segment) { return segment.begin >= begin; });
  segments->push_back({begin, path});
  segments_ = std::move(*segments);
  file_.reset();
  return {};
}

Result<SegmentFile*> JournalBytes::file_of(size_t segment) {
  if (!file_ || opened_ != segment) {
    file_.reset();
    auto file = SegmentFile::open(segments_[segment].path);
    if (!file) return file.error();
    file_ = std::move(*file);
    opened_ = segment;
  }
  return &*file_;
}

// Whether the newest segment has become an older one since it was opened.
Result<bool> JournalBytes::was_cut() {
  struct stat opened {};
  struct stat now {};
  if (::fstat(file_->fd(), &opened) != 0) return io_error(segments_.back().path);
  if (::stat(segments_.back().path.c_str(), &now) != 0) return io_error(segments_.back().path);
  return opened.st_ino != now.st_ino || opened.st_dev != now.st_dev;
}

std::optional<uint64_t> JournalBytes::segment_behind(uint64_t offset) const {
  const auto behind = std::ranges::upper_bound(segments_, offset, {}, &Segment::begin);
  return behind == segments_.end() ? std::nullopt : std::optional(behind->begin);
}

Result<uint64_t> JournalBytes::end() {
  auto file = file_of(segments_.size() - 1);
  if (!file) return file.error();
  const auto size = (*file)->size();
  return size ? Result<uint64_t>(segments_.back().begin + *size) : size;
}

Result<void> JournalBytes::read(uint64_t offset, size_t wanted, std::string& block) {
  block.clear();
  auto done = append(offset, wanted, block);
  return !done && block.empty() ? done : Result<void>();
}

Result<void> JournalBytes::append(uint64_t offset, size_t wanted, std::string& block) {
  for (int looks = 0; block.size() < wanted;) {
    const uint64_t at = offset + block.size();
    const auto behind = std::ranges::upper_bound(segments_, at, {}, &Segment::begin);
    if (behind == segments_.begin())
      return Error{Errc::not_found, fmt::format("journal: bytes {} to {} have been removed", at, begin())};
    const auto index = static_cast<size_t>(behind - segments_.begin()) - 1;
    const bool newest = behind == segments_.end();
    auto file = file_of(index);
    if (!file && file.error().code == Errc::not_found && ++looks < kLooks) {
      if (auto looked = look(); !looked) return looked;
      continue;
    }
    if (!file) return file.error();
    const uint64_t left = newest ? UINT64_MAX : behind->begin - at;
    const size_t count = std::min<uint64_t>(wanted - block.size(), left);
    const size_t had = block.size();
    if (auto done = (*file)->read(at - segments_[index].begin, count, block); !done) return done;
    if (block.size() - had == count) continue;
    if (!newest)
      return Error{Errc::invalid,
                   fmt::format("journal: bytes {} to {} are missing", offset + block.size(), behind->begin)};
    const auto cut = was_cut();
    if (!cut) return cut.error();
    if (!*cut) break;
    if (auto looked = look(); !looked) return looked;
  }
  return {};
}

}  // namespace oboro::store
