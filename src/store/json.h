// Event <-> one line of JSON, as docs/formats.md describes it.
//
// Strings from the guest are bytes, and JSON is text. Valid UTF-8 stays readable. Other bytes are kept without loss:
//   a byte 0xNN that is not part of valid UTF-8, and the byte 0, are written \u0000\u00NN.
// No name of a Linux system but an abstract socket's has a NUL, so the pair cannot be mistaken. Control and
// direction-changing characters are \u-escaped: a line can be shown on a terminal as it is.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "event/event.h"
#include "store/label_names.h"

namespace oboro::store {

// Appends the line, without '\n'.
void write_event(const event::Event& event, const LabelNames& labels, std::string_view vm, std::string& out);

// Label names that the table does not have are added to it. Unknown members are skipped, so that an older reader copes
// with a newer journal. Errors: invalid (what and where), limit (a 65th label).
Result<event::Event> read_event(std::string_view line, LabelNames& labels, std::string* vm = nullptr);

// The identity of an object as users see it: the letter of its type, by its place here, and a number: "f12".
inline constexpr std::string_view kObjectLetters = "?fpsitqm";
static_assert(kObjectLetters.size() == static_cast<size_t>(event::ObjectType::count));
std::string object_id(event::ObjectType type, uint64_t id);
bool parse_object_id(std::string_view text, event::ObjectType& type, uint64_t& id);

std::string format_time(uint64_t time_ns);  // "2026-11-22T21:45:56.123456789Z"
bool parse_time(std::string_view text, uint64_t& time_ns);

void append_json_string(std::string_view bytes, std::string& out);  // with quotes
// The bytes that append_json_string was given, from the text that a JSON parser gives back.
std::string bytes_from_json(std::string_view text);

// A line of JSON in the making. Empty strings and zeros are left out by text() and number().
class JsonLine {
 public:
  explicit JsonLine(std::string& out) : out_(out) { out_ += '{'; }
  void text(std::string_view key, std::string_view value);
  void number(std::string_view key, uint64_t value);
  void always(std::string_view key, uint64_t value);
  void boolean(std::string_view key, bool value);
  void real(std::string_view key, double value);  // three decimals
  void list(std::string_view key, const std::vector<std::string>& values);
  void begin(std::string_view key);  // a nested object, until end()
  void begin_list(std::string_view key);
  void item();  // before each item, which the caller appends to the string himself
  void end_list();
  void end() {
    out_ += '}';
    first_ = false;
  }

 private:
  void name(std::string_view key);
  std::string& out_;
  bool first_ = true;
};

void write_subject(JsonLine& json, const event::Subject& subject);
void write_object(JsonLine& json, const event::Object& object);

}  // namespace oboro::store
