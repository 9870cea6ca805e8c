#include "link/settings.h"

#include <fmt/format.h>

#include "base/number.h"

namespace oboro::link {
namespace {

// Takes the next word off `line`.
std::string_view word(std::string_view& line) {
  const size_t end = line.find(' ');
  const std::string_view taken = line.substr(0, end);
  line = end == std::string_view::npos ? std::string_view() : line.substr(end + 1);
  return taken;
}

bool uuid(std::string_view text, std::array<uint8_t, 16>& out) {
  if (text.size() != 32) return false;
  for (size_t i = 0; i < out.size(); ++i)
    if (!parse_number(text.substr(i * 2, 2), out[i], 16)) return false;
  return true;
}

bool entry(std::string_view line, Settings& out) {
  const std::string_view key = word(line);
  if (key == "rule") {
    ClassifyRule rule;
    if (!parse_number(word(line), rule.labels, 16) || line.empty()) return false;
    rule.pattern = line;
    out.rules.push_back(std::move(rule));
    return true;
  }
  if (key == "file") {
    KnownFile file;
    if (!uuid(word(line), file.identity.uuid) || !parse_number(word(line), file.identity.inode) ||
        !parse_number(word(line), file.identity.generation) || !parse_number(word(line), file.labels, 16) ||
        !parse_number(word(line), file.id))
      return false;
    out.files.push_back(file);
    return line.empty();
  }
  if (key == "place") {
    auto& [index, bits] = out.places.words.emplace_back();
    return parse_number(word(line), index) && index < labels::NamedPlaces::kWords && parse_number(line, bits, 16);
  }
  if (key == "service") {
    out.services.emplace_back().name = line;
    return !line.empty();
  }
  if (key.starts_with("service-")) {
    if (out.services.empty()) return false;
    HiddenService& service = out.services.back();
    if (line.empty()) return false;
    if (key == "service-exe")
      service.exe = line;
    else if (key == "service-unit")
      service.unit = line;
    else if (key == "service-files")
      service.files.emplace_back(line);
    else if (key == "service-children")
      service.children = line == "1";
    else if (key == "service-network")
      service.network = line == "1";
    else
      return false;
    return true;
  }
  const std::string_view value = word(line);
  if (!line.empty()) return false;
  if (key == "wait") {
    const auto known = value_of(kWaits, value);
    out.wait = known.value_or(out.wait);
    return known.has_value();
  }
  if (const auto trouble = value_of(kTroubles, key)) {
    const auto known = value_of(kReactions, value);
    out.policy.on(*trouble) = known;
    return known.has_value();
  }
  if (key == "leak") {
    out.policy.leak = value == "deny" ? policy::Verdict::deny : policy::Verdict::alert;
    return value == "deny" || value == "alert";
  }
  if (key == "place-seed") return parse_number(value, out.places.seed, 16);
  if (key == "labels-missing") {
    out.labels_missing = value == "1";
    return value == "0" || value == "1";
  }
  if (key == "first-id") return parse_number(value, out.first_id);
  if (key == "first-seq") return parse_number(value, out.first_seq);
  if (key == "boot") return parse_number(value, out.boot);
  if (key == "capacity")
    return parse_number(value, out.capacity) && out.capacity >= Settings::kMinCapacity &&
           out.capacity <= Settings::kMaxCapacity;
  return false;
}

}  // namespace

std::string Settings::format() const {
  std::string text =
      fmt::format("first-id {}\nfirst-seq {}\nboot {}\ncapacity {}\n", first_id, first_seq, boot, capacity);
  auto out = std::back_inserter(text);
  fmt::format_to(out, "leak {}\n", policy.leak == policy::Verdict::deny ? "deny" : "alert");
  for (const auto& [name, trouble] : kTroubles)
    fmt::format_to(out, "{} {}\n", name, word_for(kReactions, policy.reaction(trouble)));
  for (const ClassifyRule& rule : rules) fmt::format_to(out, "rule {:x} {}\n", rule.labels, rule.pattern);
  if (!services.empty()) fmt::format_to(out, "wait {}\n", word_for(kWaits, wait));
  for (const HiddenService& service : services) {
    fmt::format_to(out, "service {}\n", service.name);
    if (!service.exe.empty()) fmt::format_to(out, "service-exe {}\n", service.exe);
    if (!service.unit.empty()) fmt::format_to(out, "service-unit {}\n", service.unit);
    for (const std::string& pattern : service.files) fmt::format_to(out, "service-files {}\n", pattern);
    fmt::format_to(out, "service-children {}\nservice-network {}\n", int{service.children}, int{service.network});
  }
  fmt::format_to(out, "labels-missing {}\nplace-seed {:x}\n", int{labels_missing}, places.seed);
  for (const auto& [index, bits] : places.words) fmt::format_to(out, "place {} {:x}\n", index, bits);
  for (const KnownFile& file : files) {
    text += "file ";
    for (const uint8_t byte : file.identity.uuid) fmt::format_to(out, "{:02x}", byte);
    fmt::format_to(out, " {} {} {:x} {}\n", file.identity.inode, file.identity.generation, file.labels, file.id);
  }
  return text;
}

Result<Settings> Settings::parse(std::string_view text) {
  Settings settings;
  for (size_t line = 1; !text.empty(); ++line) {
    const size_t end = text.find('\n');
    if (end == std::string_view::npos) return Error{Errc::invalid, fmt::format("settings: line {} is cut off", line)};
    const std::string_view content = text.substr(0, end);
    text.remove_prefix(end + 1);
    if (!entry(content, settings)) return Error{Errc::invalid, fmt::format("settings: line {} is malformed", line)};
  }
  return settings;
}

}  // namespace oboro::link
