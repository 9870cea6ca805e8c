#include "index/index.h"

#include <algorithm>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/journal/reader.h"

namespace oboro::index {
namespace {

constexpr uint64_t kBetweenPlaces = 256;  // events
constexpr size_t kFilesAtOnce = 20'000;
constexpr const char* kFiles[] = {"", "-wal", "-shm"};

std::optional<Error> of_other_labels(const std::string& directory, Standing& standing) {
  auto labels = store::LabelNames::load(directory);
  if (!labels) return labels.error();
  const auto& known = labels->all();
  const auto& indexed = standing.read.labels.all();
  const size_t both = std::min(known.size(), indexed.size());
  if (!std::equal(known.begin(), known.begin() + static_cast<ptrdiff_t>(both), indexed.begin()))
    return Error{Errc::invalid, "has other labels than labels.json"};
  if (known.size() > indexed.size()) standing.read.labels = std::move(*labels);
  return std::nullopt;
}

// Why the index cannot be gone on from (not_found: what it has was removed, as it was meant to be); nothing: it can. It
// has the labels of labels.json then, too.
std::optional<Error> does_not_fit(const std::string& directory, Standing& standing) {
  auto journal = store::JournalBytes::open(directory);
  if (!journal) return journal.error();
  if (journal->begin() != standing.begin)
    return Error{Errc::not_found, "has what was removed from the journal since (retention)"};
  if (standing.cursor != stream::Cursor{}) {
    const auto there = stream::is_there(*journal, standing.cursor);
    if (!there) return there.error();
    if (!*there)
      return Error{Errc::invalid,
                   "is of another journal, or the journal was changed, or its end is not there any more"};
  }
  return of_other_labels(directory, standing);
}

Error about(const std::string& directory, const Error& error) {
  const std::string path = index_path(directory);
  return {error.code, error.message.starts_with(path) ? error.message : path + ": " + error.message};
}

Error of_another_version(const std::string& directory) {
  return {Errc::invalid, index_path(directory) + ": is of another version, or no index"};
}

Error no_index(const std::string& directory) {
  return {Errc::not_found, index_path(directory) + ": there is no index yet"};
}

Result<stream::Reader> reader_at(const std::string& directory, const Standing& standing) {
  auto reader = stream::Reader::open(directory, standing.cursor);
  if (reader && standing.cursor != stream::Cursor{}) reader->go_on(standing.read);
  return reader;
}

}  // namespace

std::string index_path(const std::string& directory) { return directory + "/index.sqlite"; }

uint64_t size_on_disk(const std::string& directory) {
  uint64_t size = 0;
  struct stat is {};
  for (const char* const suffix : kFiles)
    if (::lstat((index_path(directory) + suffix).c_str(), &is) == 0) size += static_cast<uint64_t>(is.st_size);
  return size;
}

Result<std::unique_ptr<Snapshot>> Snapshot::open(const std::string& directory) {
  auto database = Database::open(index_path(directory), Database::Access::read);
  if (!database && database.error().code == Errc::not_found) return no_index(directory);
  if (!database) return database.error();
  std::unique_ptr<Snapshot> snapshot(new Snapshot(directory, std::move(*database)));
  Database& file = *snapshot->database_;
  file.run("BEGIN");
  const auto ours = snapshot->tables_.are_ours();
  if (file.failure()) return *file.failure();
  if (ours && !*ours) return of_another_version(directory);
  auto standing = ours ? snapshot->tables_.standing() : std::nullopt;
  if (file.failure()) return *file.failure();
  if (!standing) return no_index(directory);
  // The files beside it are opened by their names. If they are of its successor by now, nothing of this holds.
  if (file.was_replaced()) return Error{Errc::invalid, index_path(directory) + ": was replaced just now"};
  if (const auto why = does_not_fit(directory, *standing)) return about(directory, *why);
  snapshot->standing_ = std::move(*standing);
  return snapshot;
}

Result<std::optional<std::pair<uint64_t, event::Event>>> Snapshot::find_event(uint64_t seq) {
  using Found = std::optional<std::pair<uint64_t, event::Event>>;
  const Place place = tables_.place_before(seq);
  auto journal = store::JournalReader::open(directory_, place.offset);
  if (!journal) return journal.error();
  store::LabelNames labels = standing_.read.labels;
  event::Event event;
  for (uint64_t order = place.order + 1;; ++order) {
    const auto more = journal->next(event, labels);
    if (!more) return more.error();
    if (!*more || journal->line_end() > standing_.cursor.offset) return Found{};
    if (event.seq == seq) return Found{std::pair(order, std::move(event))};
    if (event.seq > seq && standing_.figures.out_of_order == 0) return Found{};
  }
}

struct Writer::Session {
  explicit Session(std::unique_ptr<Database> opened) : database(std::move(opened)), tables(*database) {}

  std::unique_ptr<Database> database;
  Tables tables;
  uint64_t batch = 0, begin = 0;
  bool unwritten = false;                 // begun anew, and nothing was committed since
  std::optional<history::History> state;  // nothing: to be taken from the tables
  std::optional<stream::Reader> reader;
};

Writer::Writer(std::string directory, AtBegin at_begin, const Bounds& bounds)
    : directory_(std::move(directory)), at_begin_(std::move(at_begin)), bounds_(bounds) {}

Writer::~Writer() = default;

void Writer::remove_files() {
  session_.reset();
  for (const char* const suffix : kFiles) (void)::unlink((index_path(directory_) + suffix).c_str());
}

// An open file, in a transaction in which nobody else writes, with our tables.
Result<void> Writer::open() {
  if (session_ && session_->database->was_replaced()) session_.reset();
  if (!session_) {
    auto database = Database::open(index_path(directory_), Database::Access::write);
    if (!database) return database.error();
    session_ = std::make_unique<Session>(std::move(*database));
  }
  Database& file = *session_->database;
  file.run("BEGIN IMMEDIATE");
  if (session_->state || file.failure()) return file.failure() ? Result<void>(*file.failure()) : Result<void>();
  const auto ours = session_->tables.are_ours();
  if (!ours) session_->tables.make();
  if (file.failure()) return *file.failure();
  if (ours && !*ours) return of_another_version(directory_);
  return {};
}

// The state and the reader where the index stands. Returns why it was begun anew.
Result<std::string> Writer::take_up(uint64_t begin) {
  Session& session = *session_;
  if (session.state && session.begin == begin && session.tables.batch() == session.batch) {
    if (!session.reader) {
      auto standing = session.tables.standing();
      if (!standing) return session.database->failure().value_or(Error{Errc::invalid, "index: is empty"});
      auto reader = reader_at(directory_, *standing);
      if (!reader) return reader.error();
      session.reader = std::move(*reader);
    }
    return std::string();
  }
  session.state.reset();
  session.reader.reset();
  auto standing = session.tables.standing();
  if (session.database->failure()) return *session.database->failure();
  std::string why;
  if (standing) {
    const auto misfit = does_not_fit(directory_, *standing);
    if (!misfit) {
      auto reader = reader_at(directory_, *standing);
      if (!reader) return reader.error();
      session.reader = std::move(*reader);
      session.batch = standing->batch;
      session.begin = standing->begin;
      session.state.emplace(session.tables, std::move(standing->figures), standing->names);
      return why;
    }
    if (misfit->code != Errc::invalid && misfit->code != Errc::not_found) return *misfit;
    if (misfit->code == Errc::invalid) why = about(directory_, *misfit).message;
  }
  session.batch = session.tables.batch();
  session.unwritten = true;
  session.tables.clear();
  auto reader = stream::Reader::open(directory_);
  if (!reader) return reader.error();
  session.begin = begin;
  session.state.emplace(session.tables, history::Figures{}, history::PathTree::Count{});
  if (begin > 0) {
    auto lasting = at_begin_(reader->labels());
    if (!lasting) return lasting.error();
    begin_with(session, std::move(*lasting));
  }
  session.reader = std::move(*reader);
  return why;
}

// A part of the files at a time: there may be more than are to be in memory.
void Writer::begin_with(Session& session, history::Lasting lasting) {
  const std::vector<history::PersistentFile> files = std::exchange(lasting.files, {});
  for (size_t at = 0; at == 0 || at < files.size(); at += kFilesAtOnce) {
    const auto first = files.begin() + static_cast<ptrdiff_t>(at);
    lasting.files.assign(first, first + static_cast<ptrdiff_t>(std::min(kFilesAtOnce, files.size() - at)));
    session.state->begin_with(lasting);
    session.tables.write_changes(*session.state);
    session.state->forget_changes(false);
  }
}

Result<Writer::Step> Writer::try_step() {
  auto journal = store::JournalBytes::open(directory_);
  if (!journal) return journal.error();
  if (auto opened = open(); !opened) return opened.error();
  auto anew = take_up(journal->begin());
  if (!anew) return anew.error();
  Session& session = *session_;
  history::History& state = *session.state;
  Step step{.events = 0, .at_end = false, .anew = std::move(*anew)};
  const uint64_t from = session.reader->cursor().offset;
  event::Event event;
  while (step.events < bounds_.events && session.reader->cursor().offset - from < bounds_.bytes) {
    const auto more = session.reader->next(event);
    if (!more) return more.error();
    step.at_end = !*more || !session.reader->place();
    if (step.at_end) break;
    state.apply(event, *session.reader->place());
    ++step.events;
    if (state.events() % kBetweenPlaces == 0)
      session.tables.add_place({state.events(), session.reader->cursor().offset}, state.last_seq());
  }
  // Events that wait in a ring come to the journal later. This reader would take them for known then.
  const auto drop_reader = [&] {
    if (!session.reader->place()) session.reader.reset();
  };
  if (step.events == 0 && !session.unwritten) {
    session.database->run("ROLLBACK");
    drop_reader();
    return step;
  }
  session.tables.write_changes(state);
  session.tables.write({.batch = ++session.batch,
                        .begin = session.begin,
                        .cursor = session.reader->cursor(),
                        .read = session.reader->so_far(),
                        .figures = state.figures(),
                        .names = state.names().count()});
  session.database->run("COMMIT");
  if (const auto& failure = session.database->failure()) return *failure;
  state.forget_changes(state.in_memory() <= bounds_.in_memory);
  session.unwritten = false;
  drop_reader();
  return step;
}

Result<Writer::Step> Writer::step() {
  auto done = try_step();
  if (done) return done;
  const bool damaged = done.error().code == Errc::invalid && done.error().message.starts_with(index_path(directory_));
  session_.reset();  // which rolls back
  if (!damaged) return done;
  remove_files();
  auto again = try_step();
  if (again)
    again->anew = done.error().message;
  else
    session_.reset();
  return again;
}

Result<void> Writer::clear() {
  auto opened = open();
  if (!opened && opened.error().code == Errc::invalid) {
    remove_files();
    opened = open();
  }
  if (!opened) return opened;
  Session& session = *session_;
  const uint64_t batch = session.tables.batch();
  session.tables.clear();
  session.tables.write_batch(batch + 1);
  session.database->run("COMMIT");
  const auto failure = session.database->failure();
  session_.reset();
  return failure ? Result<void>(*failure) : Result<void>();
}

}  // namespace oboro::index
