#include "store/journal/verify.h"

#include <algorithm>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/number.h"
#include "store/files.h"
#include "store/journal/reader.h"
#include "store/json.h"

namespace oboro::store {
namespace {

constexpr uint64_t kBetweenWords = 16 << 20;  // bytes

// The number stands at the beginning of what Appender writes, before any text of a guest. 0: the line is a note.
uint64_t seq_of(std::string_view line) {
  constexpr std::string_view kKey = ",\"seq\":";
  constexpr size_t kNear = 64;
  const size_t at = line.substr(0, kNear).find(kKey);
  if (at == std::string_view::npos) return 0;
  line.remove_prefix(at + kKey.size());
  uint64_t seq = 0;
  return parse_number(line.substr(0, line.find_first_not_of("0123456789")), seq) ? seq : 0;
}

class Verifier {
 public:
  Verifier(JournalReader reader, std::vector<Head> heads) : reader_(std::move(reader)), heads_(std::move(heads)) {
    std::ranges::sort(heads_, {}, &Head::offset);
    result_.begin = reader_.bytes().begin();
    while (next_head_ < heads_.size() && heads_[next_head_].offset <= result_.begin && result_.begin > 0) ++next_head_;
    result_.old_heads = next_head_;
  }

  Result<Verified> run(const std::function<void(uint64_t, uint64_t)>& progress) {
    const auto end = reader_.bytes().end();
    if (!end) return end.error();
    for (uint64_t told = result_.begin; !result_.problem;) {
      auto more = reader_.next_line();
      if (!more) return more.error();
      if (const Damage& damage = reader_.damage(); damage.count > 0)
        result_.problem =
            Verified::Problem{result_.lines + 1, damage.first.front().offset, 0, damage.first.front().reason};
      if (!*more || result_.problem) break;
      if (auto done = take(); !done) return done.error();
      if (!progress || reader_.line_end() - told < kBetweenWords) continue;
      told = reader_.line_end();
      progress(told - result_.begin, *end - result_.begin);
    }
    if (!result_.problem && next_head_ < heads_.size())
      result_.problem = Verified::Problem{result_.lines, result_.head.offset, result_.head.seq,
                                          fmt::format("the end is missing: a head says that event {} ended at byte {}",
                                                      heads_[next_head_].seq, heads_[next_head_].offset)};
    return result_;
  }

 private:
  Result<void> take() {
    ++result_.lines;
    const std::string_view line = reader_.line();
    const uint64_t seq = seq_of(line);
    const auto hashed = split_hash(line);
    if (!hashed && result_.begin == 0 && result_.lines == result_.without_hash + 1) {
      ++result_.without_hash;
      passed(seq, kNoHash);
      return {};
    }
    if (!hashed) return problem("has no hash: it was added, or changed", seq);
    if (result_.lines == 1 && result_.begin > 0) {
      LabelNames scratch;
      const auto event = read_event(line, scratch);
      if (!event || event->kind != event::Kind::segment || event->as<event::SegmentBegin>().begin != result_.begin)
        return problem("does not begin its segment of the journal", seq);
      result_.head.hash = event->as<event::SegmentBegin>().previous;
      result_.head.seq = event->as<event::SegmentBegin>().last_seq;
    }
    if (hash_of(result_.head.hash, hashed->text) != hashed->hash) return explain(std::string(hashed->hash), seq);
    passed(seq, std::string(hashed->hash));
    return {};
  }

  // The line is what it was. So is what a head says, if it is of this line.
  void passed(uint64_t seq, std::string hash) {
    result_.head = {reader_.line_end(), seq != 0 ? seq : result_.head.seq, std::move(hash)};
    for (; next_head_ < heads_.size() && heads_[next_head_].offset <= reader_.line_end(); ++next_head_) {
      const Head& head = heads_[next_head_];
      ++result_.heads;
      if (head.offset == result_.head.offset && head.hash == result_.head.hash) continue;
      (void)problem(fmt::format("is not what was there: a head says that event {} ended at byte {} with hash {}",
                                head.seq, head.offset, head.hash),
                    seq);
      return;
    }
  }

  Result<void> problem(std::string what, uint64_t seq) {
    result_.problem = Verified::Problem{result_.lines, reader_.line_begin(), seq, std::move(what)};
    return {};
  }

  // The line's hash is of something else: the next line tells what happened.
  Result<void> explain(const std::string& hash, uint64_t seq) {
    const uint64_t before = result_.head.seq;
    (void)problem("was changed, or lines before it were removed", seq);
    const auto more = reader_.next_line();
    if (!more) return more.error();
    const auto next = *more ? split_hash(reader_.line()) : std::nullopt;
    if (next && hash_of(result_.head.hash, next->text) == next->hash)
      result_.problem->what = "was added";
    else if (seq > before + 1)
      result_.problem->what = fmt::format("lines were removed before it: event {} comes after event {}", seq, before);
    else if (seq == before + 1 && next && hash_of(hash, next->text) == next->hash)
      result_.problem->what = "was changed";
    return {};
  }

  JournalReader reader_;
  std::vector<Head> heads_;  // by offset
  size_t next_head_ = 0;
  Verified result_;
};

}  // namespace

std::string Head::line(uint64_t time_ns, std::string_view vm) const {
  std::string out;
  JsonLine json(out);
  json.text("time", format_time(time_ns));
  json.text("vm", vm);
  json.always("offset", offset);
  json.always("seq", seq);
  json.text("hash", hash);
  json.end();
  return out;
}

Result<std::vector<Head>> parse_heads(std::string_view text, const std::string& where) {
  std::vector<Head> heads;
  for (uint64_t number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string place = fmt::format("{}: line {}", where, number);
    auto json = parse_json(text.substr(0, end), place);
    if (!json) return json.error();
    const Error error{Errc::invalid, place + ": is no head, such as " + Head{}.line(0, "demo")};
    if (!json->is_object() || !json->contains("offset") || !(*json)["offset"].is_number_unsigned() ||
        !json->contains("seq") || !(*json)["seq"].is_number_unsigned() || !json->contains("hash") ||
        !(*json)["hash"].is_string())
      return error;
    Head head{(*json)["offset"].get<uint64_t>(), (*json)["seq"].get<uint64_t>(), (*json)["hash"].get<std::string>()};
    if (head.hash.size() != kHashDigits) return error;
    heads.push_back(std::move(head));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return heads;
}

Result<Verified> verify(const std::string& directory, std::vector<Head> heads,
                        const std::function<void(uint64_t, uint64_t)>& progress) {
  auto reader = JournalReader::open(directory);
  if (!reader) return reader.error();
  return Verifier(std::move(*reader), std::move(heads)).run(progress);
}

}  // namespace oboro::store
