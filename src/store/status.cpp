#include "store/status.h"

#include <nlohmann/json.hpp>

#include "store/files.h"
#include "store/json.h"

namespace oboro::store {
namespace {

// One list of the members for both directions.
template <typename S, typename Text, typename Number, typename Boolean, typename Real, typename Time>
void members(S& s, Text&& text, Number&& number, Boolean&& boolean, Real&& real, Time&& time) {
  text("engine", s.engine);
  text("qemu", s.qemu);
  text("vm", s.vm);
  number("pid", s.pid);
  number("qemu_pid", s.qemu_pid);
  text("landlock", s.landlock);
  boolean("gate", s.gate);
  text("state", s.state);
  text("paused", s.paused);
  text("kernel_release", s.kernel_release);
  text("build_id", s.build_id);
  number("hooks_armed", s.hooks_armed);
  boolean("profile_cached", s.profile_cached);
  real("arm_ms", s.arm_ms);
  time("started", s.started);
  time("ended", s.ended);
  text("error", s.error);
}

}  // namespace

Result<void> write_status(const std::string& state_directory, const Status& status) {
  std::string out;
  JsonLine json(out);
  members(
      status, [&](auto key, const std::string& value) { json.text(key, value); },
      [&](auto key, uint64_t value) { json.number(key, value); },
      [&](auto key, bool value) { json.boolean(key, value); }, [&](auto key, double value) { json.real(key, value); },
      [&](auto key, uint64_t value) { json.text(key, value == 0 ? "" : format_time(value)); });
  if (status.exit) json.always("exit", static_cast<uint64_t>(static_cast<uint8_t>(*status.exit)));
  json.end();
  return write_file_atomically(state_directory + "/status.json", out + "\n");
}

Result<Status> read_status(const std::string& state_directory) {
  const std::string path = state_directory + "/status.json";
  auto text = read_file(path, 256 * 1024);
  if (!text) return text.error();
  auto document = parse_json(*text, path);
  if (!document) return document.error();
  if (!document->is_object()) return Error{Errc::invalid, path + ": not an object"};
  using nlohmann::json;
  Status status;
  std::string wrong;
  // Calls use(member) if there is one of the right type.
  const auto member = [&](const char* key, bool (json::*right)() const noexcept, auto&& use) {
    const auto at = document->find(key);
    if (at == document->end()) return;
    if (((*at).*right)()) return use(*at);
    wrong = key;
  };
  members(
      status,
      [&](auto key, std::string& value) {
        member(key, &json::is_string, [&](const auto& m) { value = bytes_from_json(m.template get<std::string>()); });
      },
      [&](auto key, uint64_t& value) {
        member(key, &json::is_number_unsigned, [&](const auto& m) { value = m.template get<uint64_t>(); });
      },
      [&](auto key, bool& value) {
        member(key, &json::is_boolean, [&](const auto& m) { value = m.template get<bool>(); });
      },
      [&](auto key, double& value) {
        member(key, &json::is_number, [&](const auto& m) { value = m.template get<double>(); });
      },
      [&](auto key, uint64_t& value) {
        member(key, &json::is_string, [&](const auto& m) {
          if (!parse_time(m.template get<std::string>(), value)) wrong = key;
        });
      });
  member("exit", &json::is_number_unsigned, [&](const auto& m) { status.exit = m.template get<uint8_t>(); });
  if (!wrong.empty()) return Error{Errc::invalid, path + ": \"" + wrong + "\" has a wrong type"};
  return status;
}

}  // namespace oboro::store
