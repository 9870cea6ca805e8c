#include "event/event.h"

#include <array>

namespace oboro::event {
namespace {

template <typename Enum, size_t N>
constexpr std::string_view pick(const std::array<std::string_view, N>& names, Enum value) {
  static_assert(N == static_cast<size_t>(Enum::count), "one name per enumerator");
  const auto index = static_cast<size_t>(value);
  return index < N ? names[index] : "unknown";
}

constexpr std::array kKinds = {
#define KIND(kind, Type, room, doc) std::string_view(#kind),
#include "event/schema.def"
};
constexpr std::array kRooms = {
#define KIND(kind, Type, room, doc) Room::room,
#include "event/schema.def"
};
constexpr std::array<std::string_view, 8> kObjectTypes = {"none", "file",     "process", "socket",
                                                          "pipe", "terminal", "queue",   "memory"};
constexpr std::array<std::string_view, 3> kVerdicts = {"allow", "alert", "deny"};

template <typename Enum, size_t N>
bool find(const std::array<std::string_view, N>& names, std::string_view text, Enum& out) {
  for (size_t i = 0; i < N; ++i) {
    if (names[i] != text) continue;
    out = static_cast<Enum>(i);
    return true;
  }
  return false;
}

}  // namespace

Room room_of(Kind kind) {
  const auto index = static_cast<size_t>(kind);
  return index < kRooms.size() ? kRooms[index] : Room::shared;
}

std::string_view name(Kind kind) { return pick(kKinds, kind); }
std::string_view name(ObjectType type) { return pick(kObjectTypes, type); }
std::string_view name(Verdict verdict) { return pick(kVerdicts, verdict); }

bool parse(std::string_view text, Kind& out) { return find(kKinds, text, out); }
bool parse(std::string_view text, ObjectType& out) { return find(kObjectTypes, text, out); }
bool parse(std::string_view text, Verdict& out) { return find(kVerdicts, text, out); }

}  // namespace oboro::event
