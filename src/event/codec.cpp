// Encoding: a version, the envelope and the kind's payload, in the order of schema.def: fixed-width little-endian
// integers, strings as u16 length and bytes, lists as u8 count and strings. Each change of a field comes with a new
// version number. Both sides come from the same build; an old ring is drained by the same version, or refused.
#include "event/codec.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace oboro::event {
namespace {

static_assert(std::endian::native == std::endian::little, "integers are copied as they are");

constexpr uint8_t kVersion = 7;

// The size of the longest encoding, by schema.def.
template <typename T>
constexpr size_t kMaxSize = 0;
template <typename Type>
constexpr size_t max_size(size_t bound) {
  if constexpr (requires { Type::max_size(bound); })
    return Type::max_size(bound);
  else
    return kMaxSize<typename Type::Value>;
}
#define RECORD(Type, doc) \
  template <>             \
  constexpr size_t kMaxSize<Type> = 0
#define KIND(kind, Type, room, doc) RECORD(Type, doc)
#define FIELD(member, type_, key, bound, doc) +max_size<field::type_>(bound)
#define END() ;
#include "event/schema.def"
constexpr size_t kMaxPayload = std::max({
#define KIND(kind, Type, room, doc) kMaxSize<Type>,
#include "event/schema.def"
});
static_assert(1 + kMaxSize<Envelope> + kMaxPayload <= kMaxEncoded);

class Writer {
 public:
  explicit Writer(std::vector<std::byte>& out) : out_(out) {}

  template <typename T>
  void integer(T value) {
    static_assert(std::is_integral_v<T>);
    raw(&value, sizeof value);
  }
  template <typename T>
  void enumerator(T value) {
    integer(static_cast<uint8_t>(value));
  }
  void string(const std::string& value, size_t bound) {
    const auto length = static_cast<uint16_t>(std::min(value.size(), bound));
    integer(length);
    raw(value.data(), length);
  }
  void flag(bool value) { integer(static_cast<uint8_t>(value)); }
  void strings(const std::vector<std::string>& values, size_t bound) {
    const size_t count_at = out_.size();
    integer(uint8_t{0});
    uint8_t count = 0;
    for (const std::string& value : values) {
      if (count == kMaxArgumentCount || (bound == 0 && !value.empty())) break;
      string(value, bound);
      bound -= std::min(bound, value.size());
      ++count;
    }
    out_[count_at] = std::byte{count};
  }

 private:
  void raw(const void* data, size_t size) {
    const auto* bytes = static_cast<const std::byte*>(data);
    out_.insert(out_.end(), bytes, bytes + size);
  }
  std::vector<std::byte>& out_;
};

// Keeps the first failure; later reads give zeros, so that the callers need no checks of their own.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  template <typename T>
  void integer(T& value) {
    static_assert(std::is_integral_v<T>);
    if (take(sizeof value, "integer")) std::memcpy(&value, bytes_.data() + at_ - sizeof value, sizeof value);
  }
  template <typename T>
  void enumerator(T& value) {
    uint8_t raw = 0;
    integer(raw);
    if (raw >= static_cast<uint8_t>(T::count)) return fail("enumerator out of range");
    value = static_cast<T>(raw);
  }
  void string(std::string& value, size_t bound) {
    uint16_t length = 0;
    integer(length);
    if (length > bound) return fail("string too long");
    if (take(length, "string")) value.assign(reinterpret_cast<const char*>(bytes_.data() + at_ - length), length);
  }
  void flag(bool& value) {
    uint8_t raw = 0;
    integer(raw);
    if (raw > 1) return fail("flag out of range");
    value = raw != 0;
  }
  void strings(std::vector<std::string>& values, size_t bound) {
    uint8_t count = 0;
    integer(count);
    if (count > kMaxArgumentCount) return fail("list too long");
    for (; count > 0 && !failed(); --count) {
      string(values.emplace_back(), bound);
      bound -= std::min(bound, values.back().size());
    }
  }
  void finish() {
    if (!failed() && at_ != bytes_.size()) fail("bytes after the end");
  }
  void fail(const char* what) {
    if (!failed()) message_ = "event record: " + std::string(what) + " at offset " + std::to_string(at_);
  }
  bool failed() const { return !message_.empty(); }
  const std::string& message() const { return message_; }

 private:
  bool take(size_t size, const char* what) {
    if (failed()) return false;
    if (bytes_.size() - at_ < size) {
      fail(what);
      message_ += " runs past the end (" + std::to_string(bytes_.size()) + " bytes)";
      return false;
    }
    at_ += size;
    return true;
  }
  std::span<const std::byte> bytes_;
  size_t at_ = 0;
  std::string message_;
};

// One description for both directions: Coder is Writer or Reader, and the record is const or not.
template <typename Coder, typename Record>
void code(Coder& coder, Record& record) {
  // An object of type none has no further members.
  if constexpr (std::is_same_v<std::remove_const_t<Record>, Object>) {
    coder.enumerator(record.type);
    if (record.type == ObjectType::none) return;
  }
  for_each_field(record, [&](auto type, auto& member, const FieldInfo& info) {
    using Type = decltype(type);
    using Value = typename Type::Value;
    if constexpr (std::is_same_v<Type, field::Type>)
      return;  // done
    else if constexpr (std::is_same_v<Value, std::string>)
      coder.string(member, info.bound);
    else if constexpr (std::is_same_v<Value, std::vector<std::string>>)
      coder.strings(member, info.bound);
    else if constexpr (std::is_same_v<Value, bool>)
      coder.flag(member);
    else if constexpr (std::is_enum_v<Value>)
      coder.enumerator(member);
    else if constexpr (std::is_integral_v<Value>)
      coder.integer(member);
    else
      code(coder, member);
  });
}

}  // namespace

void encode(const Event& event, std::vector<std::byte>& out) {
  Writer writer(out);
  writer.integer(kVersion);
  code(writer, static_cast<const Envelope&>(event));
  with_payload(event, [&](const auto& payload) { code(writer, payload); });
}

Result<Event> decode(std::span<const std::byte> bytes) {
  Reader reader(bytes);
  uint8_t version = 0;
  reader.integer(version);
  if (!reader.failed() && version != kVersion) reader.fail("unknown version");
  Event event;
  code(reader, static_cast<Envelope&>(event));
  fill_payload(event.data, event.kind, [&](auto& payload) { code(reader, payload); });
  reader.finish();
  if (reader.failed()) return Error{Errc::invalid, reader.message()};
  return event;
}

}  // namespace oboro::event
