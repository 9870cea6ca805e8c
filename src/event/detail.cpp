#include "event/detail.h"

#include <charconv>

namespace oboro::event {
namespace {

constexpr std::string_view kRefused = "refused because ";
constexpr std::string_view kIncomplete = "the result is incomplete: ";
constexpr std::string_view kFailed = " failed: ";

std::string milliseconds(uint64_t us) {
  const std::string fraction = std::to_string(us % 1000);
  return std::to_string(us / 1000) + "." + std::string(3 - fraction.size(), '0') + fraction;
}

template <typename T>
bool take_number(std::string_view& text, T& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc()) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return true;
}

bool take(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

// Takes the text before `end`, and `end`.
bool take_until(std::string_view& text, std::string_view end, std::string& out) {
  const size_t at = text.find(end);
  if (at == std::string_view::npos) return false;
  out = text.substr(0, at);
  text.remove_prefix(at + end.size());
  return true;
}

std::string words(const Armed& armed) {
  if (armed.build_id.empty()) return armed.release;
  return "Linux " + armed.release + ", build ID " + armed.build_id + ", " + std::to_string(armed.hooks) + " hooks, " +
         (armed.cached ? "cached" : "new") + " profile, " + milliseconds(armed.took_us) + " ms";
}

std::string words(const Lost& lost) {
  if (lost.count == 0) return lost.reason;
  std::string out = std::to_string(lost.count);
  out += lost.at_least ? " or more records" : lost.count == 1 ? " record" : " records";
  return lost.reason.empty() ? out : out + ": " + lost.reason;
}

std::string words(const Command& command) {
  if (command.uid == kNoUser) return command.request;
  const std::string uid = std::to_string(command.uid);
  return command.request + ", by " + (command.user.empty() ? "UID " + uid : command.user + " (UID " + uid + ")");
}

std::string words(const SegmentBegin& segment) { return "at byte " + std::to_string(segment.begin); }

std::string words(const Flood& flood) {
  const std::string why =
      flood.reason == "space" ? "too little is left of the disk" : "there are more than the guest may have written";
  if (flood.count == 0) return "from here on, events may be left out: " + why;
  return std::to_string(flood.count) + (flood.count == 1 ? " event" : " events") + " from " +
         std::to_string(flood.first_seq) + " to " + std::to_string(flood.last_seq) + " left out (" + flood.kinds +
         "): " + why;
}

std::string words(const Refused& refused) {
  if (refused.reason.empty()) return {};
  return std::string(kRefused) + std::string(refused.incomplete ? kIncomplete : "") + refused.reason;
}

void adopt(Started& out, std::string_view text) {
  Started read;
  std::string_view rest = text;
  if (take(rest, "engine ") && take_until(rest, ", QEMU ", read.engine)) {
    out = {std::move(read.engine), std::string(rest)};
    return;
  }
  out.engine = text;
}

void adopt(Armed& out, std::string_view text) {
  Armed read;
  std::string profile;
  uint64_t whole = 0;
  uint64_t thousandths = 0;
  std::string_view rest = text;
  if (take(rest, "Linux ") && take_until(rest, ", build ID ", read.release) && take_until(rest, ", ", read.build_id) &&
      take_number(rest, read.hooks) && take(rest, " hooks, ") && take_until(rest, " profile, ", profile) &&
      take_number(rest, whole) && take(rest, ".") && take_number(rest, thousandths) && rest == " ms") {
    read.cached = profile == "cached";
    read.took_us = whole * 1000 + thousandths;
    out = std::move(read);
    return;
  }
  out.release = text;
}

void adopt(Lost& out, std::string_view text) {
  std::string_view rest = text;
  if (!take_number(rest, out.count)) {
    out.reason = text;
    return;
  }
  out.at_least = take(rest, " or more");
  if (!take(rest, " records")) take(rest, " record");
  if (take(rest, ": ")) out.reason = rest;
}

void adopt(Hidden& out, std::string_view text) {
  if (!take_until(text, ": ", out.service)) {
    out.service = text;
    return;
  }
  const size_t failed = text.rfind(kFailed);
  out.operation = text.substr(0, failed);
  if (failed != std::string_view::npos) out.error = text.substr(failed + kFailed.size());
}

void adopt(Command& out, std::string_view text) { out.request = text; }

void adopt(SegmentBegin&, std::string_view) {}  // a journal with such events has their members
void adopt(Flood&, std::string_view) {}

void adopt(Refused& out, std::string_view text) {
  take(text, kRefused);
  out.incomplete = take(text, kIncomplete);
  out.reason = text;
}

// An exec in a journal from before the payloads may show the process as it was, with the new program in `path`.
void adopt_exec(Event& event, std::string_view words) {
  Exec exec{std::string(words)};
  Object& object = event.object;
  if (!object.path.empty()) {
    exec.previous = std::move(object.process.exe);
    object.process.exe = std::move(object.path);
    object.process.comm = object.process.exe.substr(object.process.exe.rfind('/') + 1).substr(0, 15);
    object.path.clear();
  }
  event.set(std::move(exec));
}

}  // namespace

std::string what_was_done(const Hidden& hidden) {
  std::string text = hidden.operation;
  if (!hidden.access.empty()) text += " for " + hidden.access;
  if (!hidden.other.empty()) text += (hidden.operation == "symlink" ? " to " : " from ") + hidden.other;
  if (hidden.operation == "close")
    text +=
        ", " + std::to_string(hidden.bytes_read) + " bytes read, " + std::to_string(hidden.bytes_written) + " written";
  if (hidden.refused) text += " is not possible on what is hidden";
  if (hidden.times) text += " (" + std::to_string(hidden.times) + " times now)";
  if (!hidden.error.empty()) text += std::string(kFailed) + hidden.error;
  return text;
}

std::string detail(const Event& event) {
  switch (event.kind) {
    case Kind::started: {
      const auto& started = event.as<Started>();
      return started.qemu.empty() ? started.engine : "engine " + started.engine + ", QEMU " + started.qemu;
    }
    case Kind::armed:
      return words(event.as<Armed>());
    case Kind::reset:
      return event.as<Reset>().how;
    case Kind::stopped:
      return event.as<Stopped>().how;
    case Kind::classified:
      return event.as<Classified>().pattern;
    case Kind::exec:
      return event.as<Exec>().previous;
    case Kind::renamed:
      return event.as<Renamed>().old_path;
    case Kind::incomplete:
      return event.as<Incomplete>().reason;
    case Kind::lost:
      return words(event.as<Lost>());
    case Kind::hidden: {
      const auto& hidden = event.as<Hidden>();
      const std::string done = what_was_done(hidden);
      return done.empty() ? hidden.service : hidden.service + ": " + done;
    }
    case Kind::warning:
      return event.as<Warning>().text;
    case Kind::refused:
      return words(event.as<Refused>());
    case Kind::command:
      return words(event.as<Command>());
    case Kind::segment:
      return words(event.as<SegmentBegin>());
    case Kind::flood:
      return words(event.as<Flood>());
    case Kind::diffusion:
    case Kind::leak:
    case Kind::exited:
    case Kind::closed:
    case Kind::linked:
    case Kind::unlinked:
    case Kind::removed:
    case Kind::count:
      break;
  }
  return {};
}

void adopt_detail(Event& event, std::string_view words) {
  if (event.kind == Kind::exec) return adopt_exec(event, words);
  if (words.empty()) return;
  fill_payload(event.data, event.kind, [&](auto& payload) {
    if constexpr (requires { adopt(payload, words); }) {
      adopt(payload, words);
    } else {  // the words are the payload's one text
      for_each_field(payload, [&](auto, auto& member, const FieldInfo&) { member = words; });
    }
  });
}

}  // namespace oboro::event
