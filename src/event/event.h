// What Oboro reports: one Event for each change of the diffusion state, each leak, and each change of the tracer
// itself. schema.def lists the members. docs/formats.md documents the JSON form, which is the contract with users.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

#include "event/fields.h"

namespace oboro::event {

#define RECORD(Type, doc) struct Type {
#define KIND(kind, Type, room, doc) \
  struct Type {                     \
    static constexpr Kind kKind = Kind::kind;
#define FIELD(member, type_, key, bound, doc) field::type_::Value member = field::type_::initial();
#define END() \
  }           \
  ;
#include "event/schema.def"

// One alternative per kind, in the order of the kinds.
using Payload = std::variant<
#define KIND(kind, Type, room, doc) Type,
#include "event/schema.def"
    std::monostate>;

struct Event : Envelope {
  Payload data;  // the payload of `kind`; a payload of another kind counts as none

  // Makes it an event of this kind.
  template <typename T>
  void set(T payload) {
    kind = T::kKind;
    data = std::move(payload);
  }
  // The payload; an empty one if the event is of another kind.
  template <typename T>
  const T& as() const {
    static const T kNone{};
    const T* const own = kind == T::kKind ? std::get_if<T>(&data) : nullptr;
    return own ? *own : kNone;
  }
};

// Calls fn(field::..., member, FieldInfo) for each field of a record or a payload, in the order of schema.def.
#define RECORD(Type, doc)                             \
  template <typename T, typename Fn>                  \
  requires std::same_as<std::remove_const_t<T>, Type> \
  constexpr void for_each_field([[maybe_unused]] T& record, [[maybe_unused]] Fn&& fn) {
#define KIND(kind, Type, room, doc) RECORD(Type, doc)
#define FIELD(member, type_, key, bound, doc) fn(field::type_{}, record.member, FieldInfo{key, bound});
#define END() }
#include "event/schema.def"

// Calls fn(payload) with the payload of the event's kind; it is empty if there is none.
template <typename Fn>
void with_payload(const Event& event, Fn&& fn) {
  switch (event.kind) {
#define KIND(kind, Type, room, doc) \
  case Kind::kind:                  \
    return fn(event.as<Type>());
#include "event/schema.def"
    case Kind::count:
      return;
  }
}

// Makes data an empty payload of this kind and calls fn with it.
template <typename Fn>
void fill_payload(Payload& data, Kind kind, Fn&& fn) {
  switch (kind) {
#define KIND(kind, Type, room, doc) \
  case Kind::kind:                  \
    return fn(data.emplace<Type>());
#include "event/schema.def"
    case Kind::count:
      return;
  }
}

Room room_of(Kind kind);
std::string_view name(Kind kind);
std::string_view name(ObjectType type);
std::string_view name(Verdict verdict);
// The reverse. False, and out is untouched, if there is no such name.
bool parse(std::string_view text, Kind& out);
bool parse(std::string_view text, ObjectType& out);
bool parse(std::string_view text, Verdict& out);

}  // namespace oboro::event
