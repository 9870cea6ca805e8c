#include <cinttypes>
#include <cstdio>
#include <ctime>

#include "base/utf8.h"
#include "event/detail.h"
#include "store/json.h"

namespace oboro::store {
namespace {

void append_escape(uint32_t unit, std::string& out) {
  constexpr char kHex[] = "0123456789abcdef";
  out += "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) out += kHex[unit >> shift & 0xf];
}

void append_code_point_escape(char32_t c, std::string& out) {
  if (c < 0x10000) return append_escape(c, out);
  append_escape(0xd800 + ((c - 0x10000) >> 10), out);
  append_escape(0xdc00 + ((c - 0x10000) & 0x3ff), out);
}

}  // namespace

void append_json_string(std::string_view bytes, std::string& out) {
  out += '"';
  while (!bytes.empty()) {
    const char c = bytes.front();
    if (c >= 0x20 && c < 0x7f) {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
      bytes.remove_prefix(1);
      continue;
    }
    const Utf8Step step = utf8_step(bytes);
    if (step.length == 0 || step.code_point == 0) {
      out += "\\u0000";
      append_escape(static_cast<uint8_t>(c), out);
      bytes.remove_prefix(1);
      continue;
    }
    if (is_deceptive(step.code_point)) {
      append_code_point_escape(step.code_point, out);
    } else {
      out += bytes.substr(0, step.length);
    }
    bytes.remove_prefix(step.length);
  }
  out += '"';
}

std::string object_id(event::ObjectType type, uint64_t id) {
  return kObjectLetters[static_cast<size_t>(type) % kObjectLetters.size()] + std::to_string(id);
}

std::string format_time(uint64_t time_ns) {
  const auto seconds = static_cast<time_t>(time_ns / 1'000'000'000);
  tm parts{};
  ::gmtime_r(&seconds, &parts);
  char text[64];
  const size_t length = ::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  char fraction[16];
  std::snprintf(fraction, sizeof fraction, ".%09" PRIu64 "Z", time_ns % 1'000'000'000);
  return std::string(text, length) + fraction;
}

void JsonLine::name(std::string_view key) {
  if (!first_) out_ += ',';
  first_ = false;
  out_ += '"';
  out_ += key;
  out_ += "\":";
}

void JsonLine::text(std::string_view key, std::string_view value) {
  if (value.empty()) return;
  name(key);
  append_json_string(value, out_);
}

void JsonLine::number(std::string_view key, uint64_t value) {
  if (value != 0) always(key, value);
}

void JsonLine::always(std::string_view key, uint64_t value) {
  name(key);
  out_ += std::to_string(value);
}

void JsonLine::boolean(std::string_view key, bool value) {
  name(key);
  out_ += value ? "true" : "false";
}

void JsonLine::real(std::string_view key, double value) {
  if (value == 0) return;
  name(key);
  char text[64];
  std::snprintf(text, sizeof text, "%.3f", value);
  out_ += text;
}

void JsonLine::list(std::string_view key, const std::vector<std::string>& values) {
  name(key);
  out_ += '[';
  for (const auto& value : values) {
    if (&value != &values.front()) out_ += ',';
    append_json_string(value, out_);
  }
  out_ += ']';
}

void JsonLine::begin_list(std::string_view key) {
  name(key);
  out_ += '[';
  first_ = true;
}

void JsonLine::item() {
  if (!first_) out_ += ',';
  first_ = false;
}

void JsonLine::end_list() {
  out_ += ']';
  first_ = false;
}

void JsonLine::begin(std::string_view key) {
  name(key);
  out_ += '{';
  first_ = true;
}

namespace {

// An empty member is not written. A record without a set member has no members at all.
template <typename Record>
void write_fields(JsonLine& json, const Record& record);

bool is_empty(const event::Object& object) { return object.type == event::ObjectType::none; }
bool is_empty(const event::Subject& process) { return process.pid == 0; }
bool is_empty(const event::Endpoint& end) { return end.address.empty() && end.port == 0; }

template <typename Record>
void write_nested(JsonLine& json, std::string_view key, const Record& record) {
  if (is_empty(record)) return;
  json.begin(key);
  write_fields(json, record);
  json.end();
}

template <typename Record>
void write_fields(JsonLine& json, const Record& record) {
  for_each_field(record, [&](auto type, const auto& member, const event::FieldInfo& info) {
    using Type = decltype(type);
    using Value = typename Type::Value;
    if constexpr (std::is_same_v<Type, event::field::Id>) {
      if constexpr (std::is_same_v<Record,
                                   event::Object>)  // only an object has a type; clang 14 reads the rest of it, too
        if (member != 0) json.text(info.key, object_id(record.type, member));
    } else if constexpr (std::is_same_v<Type, event::field::Time>) {
      json.text(info.key, format_time(member));
    } else if constexpr (std::is_same_v<Type, event::field::User>) {
      if (member != event::kNoUser) json.always(info.key, member);
    } else if constexpr (std::is_same_v<Value, std::string>) {
      json.text(info.key, member);
    } else if constexpr (std::is_same_v<Value, std::vector<std::string>>) {
      if (!member.empty()) json.list(info.key, member);
    } else if constexpr (std::is_same_v<Value, bool>) {
      if (member) json.boolean(info.key, true);
    } else if constexpr (std::is_enum_v<Value>) {
      json.text(info.key, name(member));
    } else if constexpr (std::is_integral_v<Value>) {
      json.number(info.key, member);
    } else if (info.key.empty()) {
      write_fields(json, member);
    } else {
      write_nested(json, info.key, member);
    }
  });
}

// An object with the kind as its name; none if the payload is empty.
void write_payload(JsonLine& json, const event::Event& event, std::string& out) {
  event::with_payload(event, [&](const auto& payload) {
    std::string inside;
    JsonLine fields(inside);
    write_fields(fields, payload);
    if (inside.size() > 1) {
      json.begin(name(event.kind));
      out.append(inside, 1);
      json.end();
    }
  });
}

}  // namespace

void write_subject(JsonLine& json, const event::Subject& subject) { write_fields(json, subject); }
void write_object(JsonLine& json, const event::Object& object) { write_fields(json, object); }

void write_event(const event::Event& event, const LabelNames& labels, std::string_view vm, std::string& out) {
  JsonLine json(out);
  const auto& envelope = static_cast<const event::Envelope&>(event);
  for_each_field(envelope, [&](auto type, const auto& member, const event::FieldInfo& info) {
    using Type = decltype(type);
    if constexpr (std::is_same_v<Type, event::field::Labels>) {
      if (member != 0) json.list(info.key, labels.names(member));
    } else if constexpr (std::is_same_v<Type, event::field::Answer>) {
      // Where no policy decided, the verdict is not worth a member. `allow` of a flow says that it went through.
      if (event.kind == event::Kind::leak || event.kind == event::Kind::diffusion || member != event::Verdict::allow)
        json.text(info.key, name(member));
    } else if constexpr (std::is_same_v<Type, event::field::Time>) {
      json.text(info.key, format_time(member));
    } else if constexpr (std::is_same_v<typename Type::Value, std::string>) {
      json.text(info.key, member);
    } else if constexpr (std::is_enum_v<typename Type::Value>) {
      json.text(info.key, name(member));
    } else if constexpr (std::is_integral_v<typename Type::Value>) {
      if (info.key == "boot") json.text("vm", vm);
      json.number(info.key, member);
    } else {
      write_nested(json, info.key, member);
    }
  });
  write_payload(json, event, out);
  json.text("detail", event::detail(event));
  json.end();
}

}  // namespace oboro::store
