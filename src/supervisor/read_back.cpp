#include "supervisor/read_back.h"

#include <fmt/format.h>

#include "store/files.h"
#include "store/journal/bytes.h"
#include "stream/reader.h"

namespace oboro::supervisor {
namespace {

// More than can be given while a journal leaves events out, between two checkpoints.
constexpr uint64_t kIdsOfFlood = uint64_t{1} << 32;

// Gives the masks of a checkpoint the meaning that they had when it was written, by its names.
Result<void> translate_labels(Checkpoint& checkpoint, store::LabelNames& labels) {
  uint64_t meaning[64] = {};
  for (const auto& [bit, name] : checkpoint.labels) {
    const Result<uint64_t> own = labels.add(name);
    if (!own) return own.error();
    meaning[bit] = *own;
  }
  for (history::PersistentFile& file : checkpoint.state.files) {
    uint64_t mask = 0;
    for (int bit = 0; bit < 64; ++bit)
      if ((file.labels >> bit & 1) != 0) mask |= meaning[bit];
    file.labels = mask;
  }
  return {};
}

// A reader behind the events that the checkpoint has; `result` gets these. labels.json has all of the checkpoint's
// names then.
Result<stream::Reader> resume(const std::string& directory, const std::string& path, store::LabelNames& labels,
                              ReadBack& result) {
  auto checkpoint = read_checkpoint(path);
  if (!checkpoint) return checkpoint.error();
  auto reader = stream::Reader::open(directory, checkpoint->cursor);
  if (!reader) return Error{reader.error().code, path + ": " + reader.error().message};
  // The line is elsewhere in the journal, so the events before it are not the same either.
  if (reader->cursor() != checkpoint->cursor)
    return Error{Errc::invalid, path + ": the journal was changed since it was written"};
  store::LabelNames known = labels;
  if (auto done = translate_labels(*checkpoint, known); !done) return done.error();
  if (known.size() != labels.size()) {
    if (auto saved = known.save(directory); !saved) return saved.error();
    labels = std::move(known);
    reader = stream::Reader::open(directory, checkpoint->cursor);
    if (!reader) return reader.error();
  }
  result.state = history::History(checkpoint->state);
  result.places = Places(std::move(checkpoint->places));
  return reader;
}

// The newest checkpoint is not to be trusted: as resume(), from that of a segment; or a reader of all of the journal,
// if its beginning is there.
Result<stream::Reader> resume_without(const Error& why, const std::string& directory, store::LabelNames& labels,
                                      ReadBack& result) {
  const auto journal = store::JournalBytes::open(directory);
  if (!journal) return journal.error();
  const auto& segments = journal->segments();
  for (auto segment = segments.rbegin(); segment != segments.rend() && segment->begin > 0; ++segment)
    if (auto reader = resume(directory, segment_checkpoint_path(directory, segment->begin), labels, result)) {
      result.no_checkpoint = "the journal was read from the checkpoint of a segment on at the start: " + why.message;
      return reader;
    }
  if (journal->begin() > 0)
    return Error{Errc::invalid,
                 fmt::format("{}; the beginning of the journal was removed, so it does not say either which files bear "
                             "labels. Put back the file, or use another state directory",
                             why.message)};
  result.no_checkpoint = "all of the journal was read at the start: " + why.message;
  return stream::Reader::open(directory);
}

}  // namespace

Result<ReadBack> read_back(const std::string& directory, store::LabelNames& labels) {
  ReadBack result;
  Result<stream::Reader> reader = resume(directory, checkpoint_path(directory), labels, result);
  if (!reader) reader = resume_without(reader.error(), directory, labels, result);
  if (!reader) return reader.error();
  event::Event event;
  for (;;) {
    const Result<bool> more = reader->next(event);
    if (!more) return more.error();
    if (!*more) break;
    ++result.lines;
    result.state.apply(event);
    if (result.places.due(reader->cursor().offset)) result.places.add({reader->cursor(), result.state.last_seq()});
  }
  if (result.state.left_out().floods > 0) result.state.skip_ids(kIdsOfFlood);
  result.lines += reader->damage().count;
  result.cursor = reader->cursor();
  if (result.cursor == stream::Cursor{}) result.no_checkpoint.clear();  // there is nothing that it could lack
  if (reader->labels().size() != labels.size()) {
    labels = reader->labels();
    if (auto saved = labels.save(directory); !saved) return saved.error();
  }
  return result;
}

Result<history::Lasting> held_at_begin(const std::string& directory, const store::LabelNames& labels) {
  const auto journal = store::JournalBytes::open(directory);
  if (!journal) return journal.error();
  if (journal->begin() == 0) return history::Lasting{};
  auto checkpoint = read_checkpoint(segment_checkpoint_path(directory, journal->begin()));
  if (!checkpoint) return checkpoint.error();
  store::LabelNames known = labels;
  if (auto done = translate_labels(*checkpoint, known); !done) return done.error();
  if (known.size() != labels.size())
    return Error{Errc::invalid, directory + "/labels.json: lacks a label that files have; the next run mends that"};
  return std::move(checkpoint->state);
}

Result<uint64_t> write_checkpoint(const std::string& directory, const history::History& state,
                                  const store::LabelNames& labels, const Places& places, const stream::Cursor& cursor) {
  Checkpoint checkpoint{cursor, {}, state.lasting(), places.all()};
  uint64_t used = 0;
  for (const history::PersistentFile& file : checkpoint.state.files) used |= file.labels;
  for (int bit = 0; bit < 64; ++bit)
    if ((used >> bit & 1) != 0) checkpoint.labels[bit] = labels.names(uint64_t{1} << bit).front();
  const std::string text = checkpoint.format();
  const std::string path = checkpoint_path(directory);
  if (text.size() > Checkpoint::kMaxSize)
    return Error{Errc::limit, path + ": would be larger than " + std::to_string(Checkpoint::kMaxSize) + " bytes"};
  if (auto written = store::write_file_atomically(path, text); !written) return written.error();
  return uint64_t{text.size()};
}

}  // namespace oboro::supervisor
