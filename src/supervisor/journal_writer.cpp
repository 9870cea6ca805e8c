#include "supervisor/journal_writer.h"

#include <algorithm>
#include <charconv>
#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "stream/cursor.h"

namespace oboro::supervisor {
namespace {

constexpr size_t kRingBytes = 8 << 20;
constexpr int kIdleMs = 200;
constexpr int kDiskFullRetryMs = 500;
constexpr int kFinishTries = 20;
constexpr size_t kBetweenLooks = 1 << 20;  // of journal, for what else there is to do

bool parse_uuid(std::string_view text, std::array<uint8_t, 16>& out) {
  std::string digits;
  for (const char c : text)
    if (c != '-') digits += c;
  if (digits.size() != 32) return false;
  for (size_t i = 0; i < out.size(); ++i) {
    const char* from = digits.data() + i * 2;
    if (std::from_chars(from, from + 2, out[i], 16).ptr != from + 2) return false;
  }
  return true;
}

// The settings that the tracer needs from earlier runs.
link::Settings settings_from(const history::History& state) {
  link::Settings settings;
  for (const history::PersistentFile& file : state.persistent_files()) {
    link::KnownFile known;
    if (!parse_uuid(file.fs, known.identity.uuid)) continue;
    known.identity.inode = file.inode;
    known.identity.generation = file.generation;
    known.labels = file.labels;
    known.id = file.id;
    settings.files.push_back(known);
  }
  settings.first_id = state.next_id();
  settings.boot = state.boot() + 1;
  return settings;
}

}  // namespace

Result<std::unique_ptr<JournalWriter>> JournalWriter::open(const std::string& state_dir, const std::string& vm,
                                                           std::vector<link::ClassifyRule> rules,
                                                           const Checkpoints& checkpoints) {
  if (auto made = store::create_state_directory(state_dir); !made) return made.error();
  Result<store::StateLock> lock = store::StateLock::take(state_dir);
  if (!lock) return lock.error();
  Result<store::LabelNames> labels = store::LabelNames::load(state_dir);
  if (!labels) return labels.error();
  for (link::ClassifyRule& rule : rules) {
    const Result<uint64_t> bit = labels->add(rule.label);
    if (!bit) return bit.error();
    rule.labels = *bit;
  }
  if (auto saved = labels->save(state_dir); !saved) return saved.error();
  Result<store::Appender> appender = store::Appender::open(state_dir);
  if (!appender) return appender.error();
  const size_t torn = appender->torn_bytes();
  if (auto drained = stream::drain_ring(state_dir, *appender, *labels, vm); !drained) return drained.error();
  if (auto flushed = appender->sync(); !flushed) return flushed.error();
  Result<ReadBack> read = read_back(state_dir, *labels);
  if (!read) return read.error();
  link::Settings settings = settings_from(read->state);
  settings.rules = std::move(rules);
  settings.first_seq = appender->last_seq() + 2;  // `started` comes first
  const uint64_t lines = read->lines;
  const stream::Cursor cursor = read->cursor;
  const std::string no_checkpoint = std::move(read->no_checkpoint);

  Result<stream::RingReader> ring = stream::RingReader::create(stream::ring_path(state_dir), kRingBytes);
  if (!ring) return ring.error();
  Result<stream::RingWriter::Files> for_tracer = stream::RingWriter::files(stream::ring_path(state_dir));
  if (!for_tracer) return for_tracer.error();
  UniqueFd troubled(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!troubled) return Error{Errc::io, fmt::format("eventfd: {}", strerror(errno))};
  std::unique_ptr<JournalWriter> writer(new JournalWriter(
      state_dir, vm, std::move(*lock), std::move(*appender), std::move(*labels), std::move(*ring),
      std::move(*for_tracer), std::move(troubled), std::move(settings), std::move(*read), checkpoints));
  if (torn)
    writer->complain(
        fmt::format("the journal ended in the middle of a line; its {} bytes were moved to events.torn", torn));
  if (!no_checkpoint.empty()) {
    const std::string why = "all of the journal was read at the start: " + no_checkpoint;
    writer->complain(why);
    writer->warn(why);
  }
  if (lines > 0) writer->write_checkpoint(cursor);  // a run that is killed soon does not cost it again
  return writer;
}

JournalWriter::JournalWriter(std::string state_dir, std::string vm, store::StateLock lock, store::Appender appender,
                             store::LabelNames labels, stream::RingReader ring, stream::RingWriter::Files for_tracer,
                             UniqueFd troubled, link::Settings settings, ReadBack read_back,
                             const Checkpoints& checkpoints)
    : state_dir_(std::move(state_dir)),
      lock_(std::move(lock)),
      appender_(std::move(appender)),
      labels_(std::move(labels)),
      ring_(std::move(ring)),
      for_tracer_(std::move(for_tracer)),
      settings_(std::move(settings)),
      boot_(settings_.boot),
      state_(std::move(read_back.state)),
      places_(std::move(read_back.places)),
      lines_read_(read_back.lines),
      checkpoints_(checkpoints),
      checkpointed_(appender_.size()),
      recorder_(appender_, labels_, std::move(vm), [this](const event::Event& event) { keep(event); }),
      troubled_(std::move(troubled)) {}

JournalWriter::~JournalWriter() {
  ending_ = true;
  if (thread_.joinable()) thread_.join();
}

Result<void> JournalWriter::start(std::string engine, std::string qemu) {
  event::Event event;
  event.set(event::Started{std::move(engine), std::move(qemu)});
  event.seq = settings_.first_seq - 1;
  event.boot = settings_.boot;
  if (auto done = recorder_.record(std::move(event)); !done) return done;
  thread_ = std::thread([this] { work(); });
  return {};
}

void JournalWriter::keep(const event::Event& event) {
  boot_ = std::max(boot_, event.boot);
  if (!keeping_) return;
  state_.apply(event);
  if (state_.size() <= checkpoints_.most_kept) return;
  keeping_ = false;
  state_ = history::History(history::Keep::lasting);
  complain(
      fmt::format("more than {} files and names bear labels: the next start reads all that is journaled from the "
                  "last checkpoint on",
                  checkpoints_.most_kept));
}

void JournalWriter::work() {
  while (!ending_) {
    ring_.wait_for_record(kIdleMs);
    const Result<stream::Pumped> pumped = recorder_.pump(ring_, kBetweenLooks);
    if (pumped) {
      if (refusing_.exchange(false)) complain("the journal can be written again");
      write_warnings();
      if (pumped->unnumbered)
        complain(fmt::format("{} records with impossible numbers came from QEMU; the result is incomplete",
                             pumped->unnumbered));
      if (pumped->damaged)
        complain(fmt::format("{} damaged records came from QEMU; the result is incomplete", pumped->damaged));
      if (keeping_ && appender_.pending() == 0 && places_.due(appender_.size()))
        if (const auto cursor = journal_end()) places_.add({*cursor, state_.last_seq()});
      if (checkpoint_due()) write_checkpoint(journal_end());
      continue;
    }
    if (!refusing_.exchange(true))
      complain(pumped.error().message + "; records wait in the ring, and the guest with them when it is full");
    std::this_thread::sleep_for(std::chrono::milliseconds(kDiskFullRetryMs));
  }
}

Result<void> JournalWriter::finish(std::string how) {
  ending_ = true;
  if (thread_.joinable()) thread_.join();
  Result<stream::Pumped> pumped = recorder_.pump(ring_);
  for (int i = 0; !pumped && i < kFinishTries; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(kDiskFullRetryMs));
    pumped = recorder_.pump(ring_);
  }
  // Records that could not be written stay in the ring file. The next run brings them over.
  if (!pumped) return pumped.error();
  write_warnings();
  event::Event event;
  event.set(event::Stopped{std::move(how)});
  event.seq = appender_.last_seq() + 1;
  event.boot = boot_;
  if (auto done = recorder_.record(std::move(event)); !done) return done;
  if (auto done = appender_.sync(); !done) return done;
  write_checkpoint(journal_end());
  return {};
}

Result<stream::Cursor> JournalWriter::journal_end() const {
  return stream::cursor_at_end(store::journal_path(state_dir_), appender_.last_seq());
}

// The larger it is, the more seldom: so it takes an eighth of what the journal takes, or less.
bool JournalWriter::checkpoint_due() const {
  return appender_.pending() == 0 &&
         appender_.size() - checkpointed_ >= std::max(checkpoints_.every, 8 * checkpoint_size_) &&
         state_.size() <= checkpoints_.most_meanwhile;
}

// The journal first: what a checkpoint has must not be lost from it, or the checkpoint is refused. That it cannot be
// written costs the next start time and nothing else.
void JournalWriter::write_checkpoint(const Result<stream::Cursor>& cursor) {
  if (!keeping_) return;
  checkpointed_ = appender_.size();
  Result<void> synced = appender_.sync();
  const Result<uint64_t> written = !synced ? synced.error()
                                   : !cursor
                                       ? cursor.error()
                                       : supervisor::write_checkpoint(state_dir_, state_, labels_, places_, *cursor);
  if (written) checkpoint_size_ = *written;
  if (!written && !checkpoint_failed_)
    complain("no checkpoint could be written, so the next start may read all of the journal: " +
             written.error().message);
  checkpoint_failed_ = !written;
}

// Warnings are outside of the sequence, because the tracer gives the numbers.
void JournalWriter::write_warnings() {
  std::vector<std::string> warnings;
  {
    const std::lock_guard lock(words_mutex_);
    warnings.swap(warnings_);
  }
  for (std::string& what : warnings) {
    event::Event event;
    event.set(event::Warning{std::move(what)});
    event.boot = boot_;
    // An event that cannot be written waits in the appender, and the next pump reports that.
    (void)recorder_.record(std::move(event));
  }
}

void JournalWriter::warn(std::string what) {
  const std::lock_guard lock(words_mutex_);
  warnings_.push_back(std::move(what));
}

void JournalWriter::complain(std::string what) {
  const std::lock_guard lock(words_mutex_);
  trouble_ = trouble_ ? *trouble_ + "; " + what : std::move(what);
  eventfd_write(troubled_.get(), 1);
}

std::optional<std::string> JournalWriter::trouble() {
  const std::lock_guard lock(words_mutex_);
  eventfd_t count;
  eventfd_read(troubled_.get(), &count);
  return std::exchange(trouble_, std::nullopt);
}

}  // namespace oboro::supervisor
