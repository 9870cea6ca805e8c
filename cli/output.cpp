#include "cli/output.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fmt/format.h>
#include <unistd.h>

#include "base/utf8.h"
#include "cli/verbs.h"
#include "event/detail.h"
#include "store/json.h"

namespace oboro::cli {
namespace {

using event::Event;
using event::Kind;
using event::Object;
using event::ObjectType;

bool use_colour() {
  static const bool yes = [] {
    const char* no_color = std::getenv("NO_COLOR");
    const char* term = std::getenv("TERM");
    return ::isatty(STDOUT_FILENO) == 1 && (no_color == nullptr || *no_color == '\0') &&
           (term == nullptr || std::string_view(term) != "dumb");
  }();
  return yes;
}

std::string shown_endpoint(const event::Endpoint& endpoint) {
  if (endpoint.port == 0) return shown(endpoint.address);
  const bool v6 = endpoint.address.find(':') != std::string::npos;
  return fmt::format("{}{}{}:{}", v6 ? "[" : "", shown(endpoint.address), v6 ? "]" : "", endpoint.port);
}

// "as root (0), logged in as alice (1000)"; users without a name are left out.
std::string shown_user(const event::Subject& process) {
  std::string out;
  if (!process.user.empty()) out = fmt::format(" as {} ({})", shown(process.user), process.uid);
  if (!process.login_user.empty() && process.login_uid != process.uid)
    out += fmt::format("{} logged in as {} ({})", out.empty() ? "" : ",", shown(process.login_user), process.login_uid);
  return out;
}

std::string shown_by(const Event& event) {
  if (event.subject.pid == 0) return event.syscall.empty() ? "" : "  " + shown(event.syscall);
  return fmt::format("  {}{}{}{}", shown(event.syscall), event.syscall.empty() ? "by " : " by ",
                     shown_process(event.subject), shown_user(event.subject));
}

// About how many columns a terminal needs for the text: continuation bytes take none.
size_t width(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

}  // namespace

std::string coloured(Colour colour, std::string_view text) {
  if (colour == Colour::none || !use_colour()) return std::string(text);
  constexpr std::string_view kCodes[] = {"0", "31;1", "33", "32", "36", "2"};
  return fmt::format("\x1b[{}m{}\x1b[0m", kCodes[static_cast<size_t>(colour)], text);
}

std::string shown(std::string_view bytes) {
  std::string out;
  while (!bytes.empty()) {
    const Utf8Step step = utf8_step(bytes);
    const size_t length = std::max<size_t>(step.length, 1);
    if (step.length == 0) {
      out += fmt::format("\\x{:02x}", static_cast<uint8_t>(bytes.front()));
    } else if (is_deceptive(step.code_point)) {
      out += fmt::format("\\u{{{:x}}}", static_cast<uint32_t>(step.code_point));
    } else {
      if (step.code_point == '\\') out += '\\';
      out += bytes.substr(0, length);
    }
    bytes.remove_prefix(length);
  }
  return out;
}

std::string shown_time(uint64_t time_ns) {
  std::string text = store::format_time(time_ns).substr(0, 23);
  std::replace(text.begin(), text.end(), 'T', ' ');
  return text;
}

std::string shown_labels(uint64_t labels, const store::LabelNames& names) {
  return fmt::format("{}", fmt::join(names.names(labels), ","));
}

std::string shown_process(const event::Subject& process) {
  return fmt::format("{} ({})", process.comm.empty() ? "?" : shown(process.comm), process.pid);
}

std::string shown_object(const Object& object) {
  const std::string id = store::object_id(object.type, object.id);
  switch (object.type) {
    case ObjectType::file:
      return object.path.empty() ? fmt::format("file {} (inode {})", id, object.inode) : shown(object.path);
    case ObjectType::process:
      return "process " + shown_process(object.process);
    case ObjectType::socket: {
      std::string out = object.protocol.empty() ? "socket" : shown(object.protocol);
      const std::string local = shown_endpoint(object.local);
      const std::string remote = shown_endpoint(object.remote);
      if (local.empty() && remote.empty()) return out + " socket " + id;
      out += " " + (local.empty() ? "*" : local);
      if (!remote.empty()) out += " -> " + remote;
      return out;
    }
    default:
      break;
  }
  const std::string type(name(object.type));
  return object.path.empty() ? type + " " + id : type + " " + shown(object.path);
}

std::string shown_event(const Event& event, const store::LabelNames& names) {
  std::string out = fmt::format("{:<10}", name(event.kind));
  if (event.labels != 0) out += fmt::format(" [{}]", shown_labels(event.labels, names));
  const std::string object = shown_object(event.object);
  const bool has_object = event.object.type != ObjectType::none;
  const std::string detail = shown(event::detail(event));
  switch (event.kind) {
    case Kind::classified:
      return fmt::format("{} {}  by pattern {}{}", out, object, detail, shown_by(event));
    case Kind::diffusion:
    case Kind::leak:
    case Kind::refused:
      if (event.from.type != ObjectType::none) out += fmt::format(" {} -> {}", shown_object(event.from), object);
      if (event.from.type == ObjectType::none) out += " " + object;
      if (event.verdict == event::Verdict::deny) out += "  DENIED";
      return out + shown_by(event) + (detail.empty() ? "" : "  " + detail);
    case Kind::renamed:
      return fmt::format("{} {} -> {}{}", out, detail, object, shown_by(event));
    case Kind::exec:
      return fmt::format("{} {} executes {}", out, shown_process(event.subject), shown(event.object.process.exe));
    case Kind::exited:
    case Kind::closed:
      return fmt::format("{} {}", out, object);
    default:
      break;
  }
  // A hidden service's event always has a subject, though it may have no file or socket.
  std::string what = has_object ? " " + object : "";
  if (has_object || event.kind == Kind::hidden) what += shown_by(event);
  if (!has_object && !what.empty()) what.erase(0, 1);
  if (!detail.empty()) what += (what.empty() ? " " : "  ") + detail;
  return out + what;
}

std::string shown_step(const event::Event& event, const store::LabelNames& names) {
  return fmt::format("{}  {}", shown_time(event.time_ns), coloured(colour_of(event), shown_event(event, names)));
}

Colour colour_of(const Event& event) {
  switch (event.kind) {
    case Kind::leak:
    case Kind::refused:
      return Colour::red;
    case Kind::incomplete:
    case Kind::lost:
    case Kind::flood:
    case Kind::warning:
      return Colour::yellow;
    case Kind::classified:
      return Colour::cyan;
    case Kind::started:
    case Kind::armed:
    case Kind::reset:
    case Kind::stopped:
      return Colour::dim;
    default:
      return Colour::none;
  }
}

namespace {
int output_error = 0;  // the first one
}

void print(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() && output_error == 0) output_error = errno;
}

void message(std::string_view text) { fmt::print(stderr, "oboro: {}\n", shown(text)); }

bool finish_output() {
  if (std::fflush(stdout) != 0 && output_error == 0) output_error = errno;
  if (output_error == 0) return true;
  if (!output_closed()) message(fmt::format("standard output: {}", std::strerror(output_error)));
  return false;
}

bool output_closed() { return output_error == EPIPE; }

int fail(const Error& error, int exit_code) {
  message(error.message);
  return exit_code;
}

std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows)
    for (size_t i = 0; i + 1 < row.size(); ++i) {
      if (widths.size() <= i) widths.push_back(0);
      widths[i] = std::max(widths[i], width(row[i]));
    }
  std::string out;
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      out += row[i];
      if (i + 1 < row.size()) out.append(widths[i] - width(row[i]) + 2, ' ');
    }
    out += '\n';
  }
  return out;
}

}  // namespace oboro::cli
