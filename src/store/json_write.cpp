#include <cinttypes>
#include <cstdio>
#include <ctime>

#include "base/utf8.h"
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
  constexpr std::string_view kLetters = "?fpsitqm";
  static_assert(kLetters.size() == static_cast<size_t>(event::ObjectType::count));
  return kLetters[static_cast<size_t>(type) % kLetters.size()] + std::to_string(id);
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

void write_endpoint(JsonLine& json, std::string_view key, const event::Endpoint& endpoint) {
  if (endpoint.address.empty() && endpoint.port == 0) return;
  json.begin(key);
  json.text("address", endpoint.address);
  json.number("port", endpoint.port);
  json.end();
}

}  // namespace

void write_subject(JsonLine& json, const event::Subject& subject) {
  json.number("pid", subject.pid);
  json.number("tid", subject.tid);
  json.number("start", subject.start_time_ns);
  json.text("comm", subject.comm);
  json.text("exe", subject.exe);
  json.text("cgroup", subject.cgroup);
}

void write_object(JsonLine& json, const event::Object& object) {
  json.text("type", name(object.type));
  if (object.id != 0) json.text("id", object_id(object.type, object.id));
  json.text("path", object.path);
  json.number("inode", object.inode);
  json.number("generation", object.generation);
  json.text("fs", object.fs);
  json.text("fs_type", object.fs_type);
  write_subject(json, object.process);
  json.text("protocol", object.protocol);
  write_endpoint(json, "local", object.local);
  write_endpoint(json, "remote", object.remote);
}

void write_event(const event::Event& event, const LabelNames& labels, std::string_view vm, std::string& out) {
  JsonLine json(out);
  json.text("time", format_time(event.time_ns));
  json.number("seq", event.seq);
  json.text("vm", vm);
  json.number("boot", event.boot);
  json.text("kind", name(event.kind));
  if (event.labels != 0) json.list("labels", labels.names(event.labels));
  json.text("syscall", event.syscall);
  if (event.subject.pid != 0) {
    json.begin("subject");
    write_subject(json, event.subject);
    json.end();
  }
  for (const auto& [key, object] : {std::pair<std::string_view, const event::Object&>{"from", event.from},
                                    std::pair<std::string_view, const event::Object&>{"object", event.object}}) {
    if (object.type == event::ObjectType::none) continue;
    json.begin(key);
    write_object(json, object);
    json.end();
  }
  // What no policy decided about has no verdict worth a member; `allow` of a flow says that it went through.
  if (event.kind == event::Kind::leak || event.kind == event::Kind::diffusion || event.verdict != event::Verdict::allow)
    json.text("verdict", name(event.verdict));
  json.text("detail", event.detail);
  json.end();
}

}  // namespace oboro::store
