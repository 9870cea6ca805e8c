// The types that schema.def's fields may have, and the bounds of their texts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace oboro::event {

enum class Kind : uint8_t {
#define KIND(kind, Type, room, doc) kind,
#include "event/schema.def"
  count
};

// Where there is not room for all events - in the ring, in what a guest may write a second, on the disk -, some of it
// is kept for the kinds that must not be missing. Not for a kind that a process without labels can have as many of as
// it likes.
enum class Room : uint8_t { shared, kept };

enum class ObjectType : uint8_t { none, file, process, socket, pipe, terminal, queue, memory, count };
enum class Verdict : uint8_t { allow, alert, deny, count };

struct Subject;
struct Endpoint;
struct Object;

// Bounds of the texts, in bytes: the binary form cuts what is longer.
inline constexpr size_t kMaxPath = 8192;
inline constexpr size_t kMaxExe = 4096;
inline constexpr size_t kMaxName = 256;
inline constexpr size_t kMaxWord = 64;
inline constexpr size_t kMaxArguments = 4096;  // all of Subject::argv
inline constexpr size_t kMaxArgumentCount = 64;

inline constexpr uint32_t kNoUser = UINT32_MAX;  // unknown; the kernel, too, uses this for a login UID that is not set

struct FieldInfo {
  std::string_view key;
  size_t bound = 0;
};

namespace field {

template <typename T, T kInitial = T{}>
struct Plain {
  using Value = T;
  static constexpr T initial() { return kInitial; }
  static constexpr size_t max_size(size_t) { return sizeof(T); }
};
template <typename T>
struct Nested {
  using Value = T;
  static T initial() { return {}; }
};

struct U16 : Plain<uint16_t> {};
struct U32 : Plain<uint32_t> {};
struct U64 : Plain<uint64_t> {};
struct Flag : Plain<bool> {};
struct User : Plain<uint32_t, kNoUser> {};
struct Time : Plain<uint64_t> {};    // nanoseconds of CLOCK_REALTIME
struct Id : Plain<uint64_t> {};      // in JSON with the letter of the object's type
struct Labels : Plain<uint64_t> {};  // bit mask; the names are in the state directory's label table
struct KindOf : Plain<Kind, Kind::warning> {};
struct Type : Plain<ObjectType> {};
struct Answer : Plain<Verdict> {};
struct Text {
  using Value = std::string;
  static std::string initial() { return {}; }
  static constexpr size_t max_size(size_t bound) { return sizeof(uint16_t) + bound; }
};
struct Texts {
  using Value = std::vector<std::string>;
  static std::vector<std::string> initial() { return {}; }
  static constexpr size_t max_size(size_t bound) { return 1 + kMaxArgumentCount * sizeof(uint16_t) + bound; }
};
struct Process : Nested<Subject> {};
struct End : Nested<Endpoint> {};
struct Thing : Nested<Object> {};

}  // namespace field
}  // namespace oboro::event
