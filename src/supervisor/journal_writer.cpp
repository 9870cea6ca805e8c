#include "supervisor/journal_writer.h"

#include <algorithm>
#include <charconv>
#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include "base/thread.h"
#include "store/journal/bytes.h"
#include "stream/cursor.h"
#include "supervisor/checkpoint.h"

namespace oboro::supervisor {
namespace {

constexpr size_t kRingBytes = 8 << 20;
constexpr int kIdleMs = 200;
constexpr int kDiskFullRetryMs = 500;
constexpr int kFinishTries = 20;
constexpr std::chrono::minutes kBetweenLooksAtAge(10);
// Between two checkpoints that are written because the journal alone does not tell all.
constexpr uint64_t kCheckpointAfterFloodNs = 60'000'000'000;
constexpr size_t kBetweenLooks = 256 << 10;  // of journal, for what else there is to do

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
  // A seed that a guest does not know.
  uint64_t seed = 0;
  if (getentropy(&seed, sizeof seed) != 0) seed = stream::now_ns();  // a kernel of before 3.17
  const auto places = std::make_unique<labels::NamedPlaces>(seed);
  for (const history::PersistentFile& file : state.persistent_files())
    for (const std::string& name : file.names) places->add_name(file.fs, name);
  settings.places = places->content();
  settings.labels_missing = state.left_out().floods > 0;
  settings.first_id = state.next_id();
  settings.boot = state.boot() + 1;
  return settings;
}

}  // namespace

Result<std::unique_ptr<JournalWriter>> JournalWriter::open(const std::string& state_dir, const std::string& vm,
                                                           std::vector<link::ClassifyRule> rules,
                                                           const Options& options) {
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
  std::unique_ptr<JournalWriter> writer(
      new JournalWriter(state_dir, vm, std::move(*lock), std::move(*appender), std::move(*labels), std::move(*ring),
                        std::move(*for_tracer), std::move(troubled), std::move(settings), std::move(*read), options));
  if (torn)
    writer->complain(
        fmt::format("the journal ended in the middle of a line; its {} bytes were moved to events.torn", torn));
  if (!no_checkpoint.empty()) {
    writer->complain(no_checkpoint);
    writer->warn(no_checkpoint);
  }
  if (writer->settings_.labels_missing) {
    const std::string missing =
        "labels of files may be missing: the run before was ended while events were left out of its journal";
    writer->complain(missing);
    writer->warn(missing);
  } else if (lines > 0) {
    writer->write_checkpoint(cursor);  // a run that is killed soon does not cost it again
  }
  return writer;
}

JournalWriter::JournalWriter(std::string state_dir, std::string vm, store::StateLock lock, store::Appender appender,
                             store::LabelNames labels, stream::RingReader ring, stream::RingWriter::Files for_tracer,
                             UniqueFd troubled, link::Settings settings, ReadBack read_back, const Options& options)
    : state_dir_(std::move(state_dir)),
      vm_(std::move(vm)),
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
      options_(options),
      cut_at_(options.keeping.segment),
      checkpointed_(appender_.size()),
      recorder_(appender_, labels_, vm_, [this](const event::Event& event) { keep(event); }),
      troubled_(std::move(troubled)) {
  recorder_.limit(stream::Flood({options_.keeping.max_rate, options_.keeping.max_events}, options_.clock));
}

JournalWriter::~JournalWriter() {
  ending_ = true;
  if (thread_.joinable()) thread_.join();
  indexer_.reset();
  archivist_.reset();
}

Result<void> JournalWriter::start(std::string engine, std::string qemu) {
  event::Event event;
  event.set(event::Started{std::move(engine), std::move(qemu)});
  event.seq = settings_.first_seq - 1;
  event.boot = settings_.boot;
  if (auto done = recorder_.record(std::move(event)); !done) return done;
  looked_ = sent_ = std::chrono::steady_clock::now();
  archivist_ = std::make_unique<Archivist>(state_dir_, options_.keeping, [this](std::string what, bool is_event) {
    if (!is_event) complain(what);
    warn(std::move(what));
  });
  Result<void> archives = archivist_->start();
  if (!archives) archivist_.reset();
  indexer_ = std::make_unique<Indexer>(state_dir_, [this](std::string what) {
    complain(what);
    warn(std::move(what));
  });
  if (!indexer_->start()) indexer_.reset();  // the verbs read on by themselves
  Result<std::thread> thread = archives ? start_thread([this] { work(); }) : archives.error();
  if (!thread) {
    (void)finish(thread.error().message);
    return thread.error();
  }
  thread_ = std::move(*thread);
  return {};
}

void JournalWriter::keep(const event::Event& event) {
  boot_ = std::max(boot_, event.boot);
  if (!state_is_whole_) return;
  state_.apply(event);
  if (state_.size() <= options_.checkpoints.most_kept) return;
  state_is_whole_ = false;
  state_ = history::History(history::Keep::lasting);
  complain(
      fmt::format("more than {} files and names bear labels: the next start reads all that is journaled from the "
                  "last checkpoint on",
                  options_.checkpoints.most_kept));
}

// Part of what the ring has, so that places are not farther from each other than somebody wants to read.
Result<stream::Pumped> JournalWriter::pump() {
  auto pumped = recorder_.pump(ring_, kBetweenLooks);
  if (pumped && state_is_whole_ && appender_.pending() == 0 && places_.due(appender_.size()))
    if (const auto cursor = journal_end()) places_.add({*cursor, state_.last_seq()});
  return pumped;
}

void JournalWriter::work() {
  while (!ending_) {
    ring_.wait_for_record(kIdleMs);
    const Result<stream::Pumped> pumped = pump();
    if (pumped) {
      if (refusing_.exchange(false)) complain("the journal can be written again");
      write_warnings();
      if (pumped->unnumbered)
        complain(fmt::format("{} records with impossible numbers came from QEMU; the result is incomplete",
                             pumped->unnumbered));
      if (pumped->damaged)
        complain(fmt::format("{} damaged records came from QEMU; the result is incomplete", pumped->damaged));
      if (pumped->left_out && !std::exchange(left_out_, true))
        complain(
            "events are left out of the journal: there are more than the guest may have written ([journal] max_rate, "
            "max_events), or the disk is nearly full; the result is incomplete");
      if (checkpoint_due()) write_checkpoint(journal_end());
      if (appender_.pending() == 0) look_after_segments();
      if (indexer_ && appender_.pending() == 0 && std::exchange(told_, appender_.size()) != appender_.size())
        indexer_->grew();
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
  // A process that QEMU has left behind may go on writing; it does not keep the run from ending.
  const uint64_t end = ring_.position() + ring_.capacity();
  for (int tries = 0;;) {
    const Result<stream::Pumped> pumped = pump();
    if (pumped && (!pumped->any() || ring_.position() >= end)) break;
    if (pumped) continue;
    // Records that could not be written stay in the ring file. The next run brings them over.
    if (++tries > kFinishTries) return pumped.error();
    std::this_thread::sleep_for(std::chrono::milliseconds(kDiskFullRetryMs));
  }
  archivist_.reset();
  write_warnings();
  if (auto told = recorder_.tell_left_out(); !told) return told;
  event::Event event;
  event.set(event::Stopped{std::move(how)});
  event.seq = appender_.highest_seq() + 1;
  event.boot = boot_;
  if (auto done = recorder_.record(std::move(event)); !done) return done;
  if (auto done = appender_.sync(); !done) return done;
  write_checkpoint(journal_end());
  if (indexer_) indexer_->grew();
  indexer_.reset();
  if (options_.keeping.sends_heads())
    if (auto sent = supervisor::send_head(options_.keeping, vm_, head()); !sent) complain(sent.error().message);
  return {};
}

store::Head JournalWriter::head() const { return {appender_.size(), appender_.last_seq(), appender_.head()}; }

// Nothing is pending.
void JournalWriter::look_after_segments() {
  const auto now = std::chrono::steady_clock::now();
  if (appender_.segment_size() >= cut_at_) cut();
  if (now - looked_ >= kBetweenLooksAtAge) {
    looked_ = now;
    archivist_->look();
  }
  if (!options_.keeping.sends_heads() || now - sent_ < std::chrono::seconds(options_.keeping.heads_every_s)) return;
  sent_ = now;
  if (appender_.head() == sent_head_ || !appender_.sync()) return;  // the next pump reports that
  sent_head_ = appender_.head();
  archivist_->send(vm_, head());
}

// The checkpoint comes first: without one of the moment at which it began, a segment keeps all before it from being
// removed.
void JournalWriter::cut() {
  const auto end = journal_end();
  if (end && write_checkpoint(end)) {
    const std::string path = segment_checkpoint_path(state_dir_, appender_.size());
    (void)::mkdir(store::segments_path(state_dir_).c_str(), 0700);
    (void)::unlink(path.c_str());  // of a cut that came to nothing
    if (::link(checkpoint_path(state_dir_).c_str(), path.c_str()) != 0)
      complain(fmt::format("{}: {}; older segments of the journal cannot be removed", path, strerror(errno)));
  }
  const Result<void> done = end ? appender_.cut(vm_, fmt::format("{:08x}", end->journal)) : end.error();
  cut_at_ = done ? options_.keeping.segment : appender_.segment_size() + options_.keeping.segment;
  if (!done) complain("the journal goes on in the same segment: " + done.error().message);
  archivist_->look();
}

Result<stream::Cursor> JournalWriter::journal_end() const {
  return stream::cursor_at_end(state_dir_, appender_.last_seq());
}

// The larger it is, the more seldom: so it takes an eighth of what the journal takes, or less.
// Where events are left out of the journal, it alone does not tell which files bear labels.
bool JournalWriter::checkpoint_due() const {
  if (appender_.pending() != 0 || state_.size() > options_.checkpoints.most_meanwhile) return false;
  if (recorder_.missing() && options_.clock() - checkpointed_ns_ >= kCheckpointAfterFloodNs) return true;
  return appender_.size() - checkpointed_ >= std::max(options_.checkpoints.every, 8 * checkpoint_size_);
}

// The journal first: what a checkpoint has must not be lost from it, or the checkpoint is refused. That it cannot be
// written costs the next start time and nothing else.
bool JournalWriter::write_checkpoint(const Result<stream::Cursor>& cursor) {
  if (!state_is_whole_) return false;
  checkpointed_ = appender_.size();
  checkpointed_ns_ = options_.clock();
  Result<void> synced = appender_.sync();
  const Result<uint64_t> written = !synced ? synced.error()
                                   : !cursor
                                       ? cursor.error()
                                       : supervisor::write_checkpoint(state_dir_, state_, labels_, places_, *cursor);
  if (written) checkpoint_size_ = *written;
  if (written) recorder_.checkpointed();
  if (!written && !checkpoint_failed_)
    complain("no checkpoint could be written, so the next start may read all of the journal: " +
             written.error().message);
  checkpoint_failed_ = !written;
  return !checkpoint_failed_;
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
