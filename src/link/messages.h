// The messages of messages.def as types, and as bytes: a header of 8 bytes (protocol, type, two of zero, the request's
// number), then the fields in their order. A NUMBER has 8 bytes, a FLAG one (0 or 1), a TEXT its length in 4 bytes and
// then its bytes; little endian. A message has one sequence of bytes only: a decoded message encodes to the same bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "base/result.h"

namespace oboro::link {

inline constexpr uint8_t kProtocol = 2;
inline constexpr size_t kMaxMessage = 160 * 1024;  // bytes

enum class Type : uint8_t {
#define MESSAGE(name, number, fields) name = number,
#define TEXT(name)
#define NUMBER(name)
#define FLAG(name)
#include "link/messages.def"
};

#define MESSAGE(name, number, fields)        \
  struct name {                              \
    static constexpr Type kType{Type::name}; \
    fields                                   \
  };
#define TEXT(name) std::string name{};
#define NUMBER(name) uint64_t name = 0;
#define FLAG(name) bool name = false;
#include "link/messages.def"

template <typename, typename... All>
using VariantOf = std::variant<All...>;
#define MESSAGE(name, number, fields) , name
#define TEXT(name)
#define NUMBER(name)
#define FLAG(name)
using Body = VariantOf<void
#include "link/messages.def"
                       >;

// The message's name, for people.
std::string_view name_of(Type type);
Type type_of(const Body& body);
// The message's fields, a line each: name, space, value.
std::string text_of(const Body& body);

struct Envelope {
  uint32_t request = 0;  // the number of the request that this is, or answers; 0: of none
  Body body;
};

std::string encode(const Body& body, uint32_t request);
// Errors: invalid (another protocol, an unknown type, too short, too long), limit (above kMaxMessage).
Result<Envelope> decode(std::string_view bytes);

}  // namespace oboro::link
