// How far an index is, and the tables themselves.
#include <algorithm>
#include <fmt/format.h>
#include <limits>

#include "base/number.h"
#include "event/codec.h"
#include "index/schema.h"
#include "index/tables.h"

namespace oboro::index {
namespace {

enum List { words, reasons, warnings, labels, damage };  // text.list
constexpr char kPutMeta[] = "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)";
constexpr size_t kMostWords = 1'000'000;
constexpr uint64_t kLongestText = 4 << 20;

// user_version: ours, and that of the events' binary form, which objects are kept in.
int64_t version() {
  std::vector<std::byte> bytes;
  event::encode({}, bytes);
  return kVersion * 256 + std::to_integer<int64_t>(bytes.front());
}

// Calls fn(key, number) for each number of a standing, and the same for its texts.
template <typename S, typename Fn>
void each_number(S& standing, Fn&& fn) {
  auto& figures = standing.figures;
  fn("batch", standing.batch);
  fn("begin", standing.begin);
  fn("lines", standing.read.lines);
  fn("damaged lines", standing.read.damage.count);
  fn("names", standing.names.nodes);
  fn("highest name", standing.names.highest);
  fn("events", figures.order);
  fn("last seq", figures.last_seq);
  fn("next id", figures.next_id);
  fn("gains", figures.gains);
  fn("gaps", figures.gaps);
  fn("announced lost", figures.announced_lost);
  fn("floods", figures.left_out.floods);
  fn("left out", figures.left_out.events);
  fn("left out first", figures.left_out.first_seq);
  fn("left out last", figures.left_out.last_seq);
  fn("out of order", figures.out_of_order);
  fn("leaks", figures.leaks);
  fn("incomplete events", figures.incomplete_events);
  fn("boot", figures.boot);
  fn("renamed inode", figures.last_rename.inode);
  fn("renamed displaced", figures.last_rename.displaced);
  for (size_t type = 1; type < figures.present.size(); ++type)
    fn("present " + std::to_string(type), figures.present[type]);
}

template <typename S, typename Fn>
void each_text(S& standing, Fn&& fn) {
  auto& figures = standing.figures;
  fn("vm", standing.read.vm);
  fn("sends refused", figures.sends_refused);
  fn("renamed fs", figures.last_rename.fs);
  fn("renamed from", figures.last_rename.from);
  fn("renamed to", figures.last_rename.to);
}

std::string text_of(const store::Damage::Line& line) {
  return fmt::format("{} {} {}", line.number, line.offset, line.reason);
}

bool parse(std::string_view text, store::Damage::Line& line) {
  const size_t first = std::min(text.find(' '), text.size());
  const size_t second = std::min(text.find(' ', first + 1), text.size());
  if (second == text.size() || !parse_number(text.substr(0, first), line.number) ||
      !parse_number(text.substr(first + 1, second - first - 1), line.offset))
    return false;
  line.reason = text.substr(second + 1);
  return true;
}

}  // namespace

std::optional<bool> Tables::are_ours() {
  {
    Statement pragmas = database_.statement(
        "SELECT (SELECT user_version FROM pragma_user_version), (SELECT application_id FROM pragma_application_id)");
    if (!pragmas.row()) return false;
    const bool same = pragmas.integer(0) == version() && pragmas.integer(1) == kApplicationId;
    pragmas.reset();
    Statement count = database_.statement("SELECT count(*) FROM sqlite_schema");
    if (count.row() && count.integer(0) == 0) return std::nullopt;
    if (!same) return false;
  }
  Statement query = database_.statement(
      "SELECT CAST(name AS BLOB), CAST(coalesce(sql, '') AS BLOB) FROM sqlite_schema ORDER BY name");
  size_t at = 0;
  for (; query.row(); ++at)
    if (at >= kDefinitions.size() || query.bytes(0) != kDefinitions[at].name || query.bytes(1) != kDefinitions[at].sql)
      return false;
  return at == kDefinitions.size();
}

void Tables::make() {
  database_.run(fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {}", kApplicationId, version()));
  for (const bool tables : {true, false})
    for (const Definition& one : kDefinitions)
      if (one.sql.starts_with("CREATE TABLE") == tables) database_.run(std::string(one.sql));
}

void Tables::clear() {
  for (const Definition& one : kDefinitions)
    if (one.sql.starts_with("CREATE TABLE")) database_.run(fmt::format("DELETE FROM {}", one.name));
  words_ = 0;
}

std::optional<Standing> Tables::standing() {
  Statement query = database_.statement("SELECT value FROM meta WHERE key = ?");
  // SQLite compares a text with a text alone.
  const auto find = [&](std::string_view key) {
    query.reset();
    return query.bind_text(1, key).row();
  };
  if (!find("cursor")) return std::nullopt;
  Standing out;
  auto cursor = stream::Cursor::parse(query.bytes(0));
  if (!cursor) database_.fail(Errc::invalid, "is damaged: " + cursor.error().message);
  if (cursor) out.cursor = *cursor;
  each_number(out, [&](std::string_view key, auto& number) {
    using Number = std::remove_reference_t<decltype(number)>;
    if (find(key))
      number = static_cast<Number>(query.number_to(0, std::numeric_limits<Number>::max()));
    else
      database_.fail(Errc::invalid, fmt::format("is damaged: it lacks \"{}\"", key));
  });
  each_text(out, [&](std::string_view key, std::string& text) {
    if (find(key))
      text = query.bytes(0);
    else
      database_.fail(Errc::invalid, fmt::format("is damaged: it lacks \"{}\"", key));
  });
  query.reset();
  Statement texts = database_.statement("SELECT list, text FROM text ORDER BY list, n");
  out.figures.words.clear();
  while (texts.row()) {
    const std::string_view text = texts.bytes(1);
    bool good = text.size() <= kLongestText;
    switch (texts.integer(0)) {
      case words:
        good = good && out.figures.words.size() < kMostWords;
        if (good) out.figures.words.emplace_back(text);
        break;
      case reasons:
        good = good && out.figures.reasons.size() < history::History::kMaxReasons;
        if (good) out.figures.reasons.emplace_back(text);
        break;
      case warnings:
        good = good && out.figures.warnings.size() < history::History::kMaxReasons;
        if (good) out.figures.warnings.emplace_back(text);
        break;
      case labels:
        good = good && out.read.labels.find(text) == 0 && out.read.labels.add(text);
        break;
      case damage: {
        store::Damage::Line line;
        good = good && out.read.damage.first.size() < store::Damage::kMaxKept && parse(text, line);
        if (good) out.read.damage.first.push_back(std::move(line));
        break;
      }
      default:
        good = false;
    }
    if (!good) database_.fail(Errc::invalid, "is damaged: a text is not in form");
  }
  if (out.figures.words.empty() || !out.figures.words.front().empty() || out.figures.next_id == 0 ||
      out.figures.next_id > history::kIdMask + 1 || out.read.damage.first.size() > out.read.damage.count)
    database_.fail(Errc::invalid, "is damaged: its figures are not in form");
  if (database_.failure()) return std::nullopt;
  words_ = out.figures.words.size();
  return out;
}

uint64_t Tables::batch() {
  Statement query = database_.statement("SELECT value FROM meta WHERE key = 'batch'");
  return query.row() ? query.number(0) : 0;
}

void Tables::write_batch(uint64_t batch) {
  prepared(put_meta_, kPutMeta).bind_text(1, "batch").bind_unsigned(2, batch).run();
}

void Tables::write_texts(int list, const std::vector<std::string>& texts) {
  // Words are only ever added; the other lists are short.
  Statement count = database_.statement("SELECT count(*) FROM text WHERE list = ?");
  uint64_t from = 0;
  if (list == words && count.bind(1, list).row()) from = count.number(0);
  count.reset();
  if (list != words) database_.statement("DELETE FROM text WHERE list = ?").bind(1, list).run();
  Statement put = database_.statement("INSERT INTO text (list, n, text) VALUES (?, ?, ?)");
  for (size_t i = from; i < texts.size(); ++i) put.bind(1, list).bind_unsigned(2, i).bind_bytes(3, texts[i]).run();
}

void Tables::write(const Standing& standing) {
  if (standing.figures.last_seq > INT64_MAX || standing.figures.words.size() > kMostWords)
    return database_.fail(Errc::limit, "cannot have the events of this journal: its numbers are no numbers of events");
  Statement& put = prepared(put_meta_, kPutMeta);
  each_number(standing,
              [&](std::string_view key, const auto& number) { put.bind_text(1, key).bind_unsigned(2, number).run(); });
  each_text(standing,
            [&](std::string_view key, const std::string& text) { put.bind_text(1, key).bind_bytes(2, text).run(); });
  put.bind_text(1, "cursor").bind_bytes(2, standing.cursor.text()).run();
  std::vector<std::string> damaged;
  for (const auto& line : standing.read.damage.first) damaged.push_back(text_of(line));
  write_texts(words, standing.figures.words);
  write_texts(reasons, standing.figures.reasons);
  write_texts(warnings, standing.figures.warnings);
  write_texts(labels, standing.read.labels.all());
  write_texts(damage, damaged);
}

void Tables::add_place(const Place& place, uint64_t highest) {
  prepared(put_place_, "INSERT OR REPLACE INTO place (ord, bytes, highest) VALUES (?, ?, ?)")
      .bind_unsigned(1, place.order)
      .bind_unsigned(2, place.offset)
      .bind_unsigned(3, highest)
      .run();
}

Place Tables::place_before(uint64_t seq) {
  Statement query =
      database_.statement("SELECT ord, bytes FROM place WHERE highest < ? ORDER BY highest DESC, ord DESC LIMIT 1");
  if (seq > INT64_MAX || !query.bind_unsigned(1, seq).row()) return {};
  return {query.number(0), query.number(1)};
}

}  // namespace oboro::index
