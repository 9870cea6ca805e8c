// Reads an event without building a document: that takes half of the time, and a hostile line cannot choose a depth.
#include <array>
#include <ctime>
#include <limits>
#include <new>
#include <nlohmann/json.hpp>

#include "event/detail.h"
#include "store/json.h"

namespace oboro::store {
namespace {

using Json = nlohmann::json;

// The parser's place: one entry for each open object that is known, and a count of open values that are skipped.
enum class Place : uint8_t { none, root, subject, from, object, local, remote, payload };
// The list in whose middle the parser is.
enum class List : uint8_t { none, labels, argv };

class EventReader : public nlohmann::json_sax<Json> {
 public:
  EventReader(LabelNames& labels, std::string* vm) : labels_(labels), vm_(vm) {}

  bool start_object(std::size_t) override {
    if (skipping_ > 0) return skip_in();
    const Place next = enter();
    if (next == Place::none || depth_ == places_.size()) return skip_in();
    places_[depth_++] = next;
    return true;
  }
  bool end_object() override {
    if (skipping_ > 0) return skip_out();
    --depth_;
    return true;
  }
  bool start_array(std::size_t) override {
    if (skipping_ > 0 || list_ != List::none) return skip_in();
    list_ = place() == Place::root && key_ == "labels" ? List::labels
            : list_of_texts(key_) != nullptr           ? List::argv
                                                       : List::none;
    return list_ != List::none || skip_in();
  }
  bool end_array() override {
    if (skipping_ > 0) return skip_out();
    list_ = List::none;
    return true;
  }
  bool key(string_t& text) override {
    if (skipping_ == 0) key_ = text;
    return true;
  }

  bool string(string_t& text) override {
    if (skipping_ > 0) return true;
    if (list_ == List::labels) return label(text);
    if (list_ == List::argv) return argument(text);
    if (place() == Place::root) return root_text(text);
    return in_record([&](auto& record) { return set_text(record, text); });
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (skipping_ > 0) return true;
    if (list_ != List::none) return fail("\"" + key_ + "\" holds what is not a string");
    if (place() == Place::root) return set_number(static_cast<event::Envelope&>(event), value);
    return in_record([&](auto& record) { return set_number(record, value); });
  }
  bool boolean(bool value) override {
    if (skipping_ > 0 || place() != Place::payload || list_ != List::none) return other();
    return in_record([&](auto& record) { return set_flag(record, value); });
  }
  bool null() override { return other(); }
  bool number_integer(number_integer_t) override { return other(); }
  bool number_float(number_float_t, const string_t&) override { return other(); }
  bool binary(binary_t&) override { return other(); }
  bool parse_error(std::size_t position, const std::string&, const Json::exception&) override {
    return fail("not valid JSON at column " + std::to_string(position));
  }

  event::Event event;
  std::string problem;
  Errc code = Errc::invalid;
  bool saw_kind = false;
  bool saw_time = false;
  std::string words;                              // `detail`
  event::Kind payload_kind = event::Kind::count;  // the kind whose payload was there

 private:
  Place place() const { return depth_ == 0 ? Place::none : places_[depth_ - 1]; }
  event::Object& current() {
    // local and remote stand inside from or object
    for (size_t i = depth_; i-- > 0;)
      if (places_[i] == Place::from) return event.from;
    return event.object;
  }
  event::Endpoint& endpoint() { return place() == Place::local ? current().local : current().remote; }
  Place enter() {
    switch (place()) {
      case Place::none:
        return Place::root;
      case Place::root:
        if (list_ != List::none) return Place::none;
        if (begin_payload()) return Place::payload;
        return key_ == "subject"  ? Place::subject
               : key_ == "from"   ? Place::from
               : key_ == "object" ? Place::object
                                  : Place::none;
      case Place::from:
      case Place::object:
        return key_ == "local" ? Place::local : key_ == "remote" ? Place::remote : Place::none;
      default:
        return Place::none;
    }
  }
  bool skip_in() {
    ++skipping_;
    return depth_ > 0 || fail("not an object");
  }
  bool skip_out() {
    --skipping_;
    return true;
  }
  bool fail(std::string what) {
    if (problem.empty()) problem = std::move(what);
    return false;
  }
  bool other() {
    return skipping_ > 0 || (list_ == List::none && place() != Place::none) || fail("a value of a wrong type");
  }
  template <typename T>
  bool narrow(uint64_t value, T& out) {
    if (value > std::numeric_limits<T>::max()) return fail("\"" + key_ + "\" is too large");
    out = static_cast<T>(value);
    return true;
  }
  bool label(const std::string& name) {
    auto bit = labels_.add(name);
    if (!bit) {
      code = bit.error().code;
      return fail("\"labels\": " + bit.error().message);
    }
    event.labels |= *bit;
    return true;
  }
  bool root_text(const std::string& text) {
    if (key_ == "time") return (saw_time = parse_time(text, event.time_ns)) || fail("\"time\" is not a time");
    if (key_ == "kind") return (saw_kind = parse(text, event.kind)) || fail("\"kind\" is unknown");
    if (key_ == "detail") words = bytes_from_json(text);
    if (key_ == "vm" && vm_ != nullptr) *vm_ = bytes_from_json(text);
    return set_text(static_cast<event::Envelope&>(event), text);
  }
  bool begin_payload() {
    event::Kind kind{};
    if (!parse(key_, kind)) return false;
    event::fill_payload(event.data, kind, [](auto&) {});
    payload_kind = kind;
    return true;
  }
  // Calls fn with the record in whose braces the parser is.
  template <typename Fn>
  bool in_record(Fn fn) {
    switch (place()) {
      case Place::none:
        return fail("not an object");
      case Place::subject:
        return fn(event.subject);
      case Place::from:
      case Place::object:
        return fn(current());
      case Place::local:
      case Place::remote:
        return fn(endpoint());
      case Place::payload:
        return std::visit(
            [&](auto& payload) {
              if constexpr (std::is_same_v<decltype(payload), std::monostate&>)
                return true;
              else
                return fn(payload);
            },
            event.data);
      case Place::root:
        break;
    }
    return true;
  }
  template <typename Record>
  bool set_text(Record& record, const std::string& text) {
    bool good = true;
    for_each_field(record, [&](auto type, auto& member, const event::FieldInfo& info) {
      using Type = decltype(type);
      using Value = typename Type::Value;
      if constexpr (std::is_same_v<Type, event::field::Process>) {
        if (info.key.empty()) good = good && set_text(member, text);
      } else if (info.key != key_) {
        return;
      } else if constexpr (std::is_same_v<Value, std::string>) {
        member = bytes_from_json(text);
      } else if constexpr (std::is_same_v<Type, event::field::Id>) {
        event::ObjectType letter = event::ObjectType::none;
        good = parse_object_id(text, letter, member) || fail("\"id\" is not an object id");
      } else if constexpr (std::is_enum_v<Value>) {
        good = parse(text, member) || fail("\"" + key_ + "\" is unknown");
      }
    });
    return good;
  }
  template <typename Record>
  bool set_number(Record& record, uint64_t value) {
    bool good = true;
    for_each_field(record, [&](auto type, auto& member, const event::FieldInfo& info) {
      using Type = decltype(type);
      using Value = typename Type::Value;
      if constexpr (std::is_same_v<Type, event::field::Process>) {
        if (info.key.empty()) good = good && set_number(member, value);
      } else if constexpr (std::is_integral_v<Value> && !std::is_same_v<Value, bool> &&
                           !std::is_same_v<Type, event::field::Id> && !std::is_same_v<Type, event::field::Time> &&
                           !std::is_same_v<Type, event::field::Labels>) {
        if (info.key == key_) good = narrow(value, member);
      }
    });
    return good;
  }
  template <typename Record>
  bool set_flag(Record& record, bool value) {
    for_each_field(record, [&](auto type, auto& member, const event::FieldInfo& info) {
      if constexpr (std::is_same_v<decltype(type), event::field::Flag>)
        if (info.key == key_) member = value;
    });
    return true;
  }
  std::vector<std::string>* list_of_texts(std::string_view key) {
    if (key != "argv") return nullptr;
    switch (place()) {
      case Place::subject:
        return &event.subject.argv;
      case Place::from:
      case Place::object:
        return &current().process.argv;
      default:
        return nullptr;
    }
  }
  // A line may come from anybody: no more is taken than the tracer would have reported.
  bool argument(const std::string& text) {
    auto& argv = *list_of_texts("argv");
    std::string bytes = bytes_from_json(text);
    size_t before = 0;
    for (const std::string& one : argv) before += one.size();
    if (argv.size() < event::kMaxArgumentCount && before + bytes.size() <= event::kMaxArguments)
      argv.push_back(std::move(bytes));
    return true;
  }

  LabelNames& labels_;
  std::string* vm_;
  std::array<Place, 4> places_{};
  size_t depth_ = 0;
  size_t skipping_ = 0;
  List list_ = List::none;
  std::string key_;
};

}  // namespace

Result<event::Event> read_event(std::string_view line, LabelNames& labels, std::string* vm) {
  EventReader reader(labels, vm);
  bool good = false;
  try {
    good = Json::sax_parse(line, &reader);
  } catch (const std::bad_alloc&) {
    throw;  // ends this process, as everywhere: the line is not damaged, and its event must not be lost
  } catch (const std::exception& error) {
    good = reader.parse_error(0, "", Json::other_error::create(0, error.what(), nullptr));
  }
  if (good && !reader.saw_kind) reader.problem = "no \"kind\"";
  if (good && !reader.saw_time) reader.problem = "no \"time\"";
  if (!reader.problem.empty()) return Error{reader.code, reader.problem};
  // A journal from before the payloads says the same in words.
  if (reader.payload_kind != reader.event.kind) event::adopt_detail(reader.event, reader.words);
  return std::move(reader.event);
}

std::string bytes_from_json(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\0' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    // NUL, then U+0000 to U+00FF: one byte.
    const auto next = static_cast<uint8_t>(text[i + 1]);
    if (next < 0x80) {
      out += text[++i];
    } else if ((next & 0xfc) == 0xc0 && i + 2 < text.size()) {
      out += static_cast<char>((next & 0x03) << 6 | (text[i + 2] & 0x3f));
      i += 2;
    } else {
      out += '\0';
    }
  }
  return out;
}

bool parse_object_id(std::string_view text, event::ObjectType& type, uint64_t& id) {
  if (text.size() < 2 || text.size() > 20) return false;
  const size_t letter = kObjectLetters.find(text.front());
  if (letter == std::string_view::npos || letter == 0) return false;
  uint64_t value = 0;
  for (const char c : text.substr(1)) {
    if (c < '0' || c > '9') return false;
    value = value * 10 + static_cast<uint64_t>(c - '0');
  }
  type = static_cast<event::ObjectType>(letter);
  id = value;
  return true;
}

bool parse_time(std::string_view text, uint64_t& time_ns) {
  constexpr std::string_view kShape = "0000-00-00T00:00:00.000000000Z";
  if (text.size() != kShape.size()) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool digit = text[i] >= '0' && text[i] <= '9';
    if (kShape[i] == '0' ? !digit : text[i] != kShape[i]) return false;
  }
  const auto number = [&](size_t at, size_t length) {
    int value = 0;
    for (const char c : text.substr(at, length)) value = value * 10 + (c - '0');
    return value;
  };
  tm parts{};
  parts.tm_year = number(0, 4) - 1900;
  parts.tm_mon = number(5, 2) - 1;
  parts.tm_mday = number(8, 2);
  parts.tm_hour = number(11, 2);
  parts.tm_min = number(14, 2);
  parts.tm_sec = number(17, 2);
  if (parts.tm_year < 70 || parts.tm_year > 654 || parts.tm_mon > 11 || parts.tm_mon < 0 || parts.tm_mday < 1 ||
      parts.tm_mday > 31 || parts.tm_hour > 23 || parts.tm_min > 59 || parts.tm_sec > 60)
    return false;
  time_ns = static_cast<uint64_t>(::timegm(&parts)) * 1'000'000'000 + static_cast<uint64_t>(number(20, 9));
  return true;
}

}  // namespace oboro::store
