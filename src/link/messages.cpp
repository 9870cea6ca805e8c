#include "link/messages.h"

#include <cstring>
#include <fmt/format.h>
#include <type_traits>

namespace oboro::link {
namespace {

constexpr size_t kHeader = 8;

class Writer {
 public:
  explicit Writer(std::string& out) : out_(out) {}
  void operator()(const char*, uint64_t value) { put(value); }
  void operator()(const char*, bool value) { put(static_cast<uint8_t>(value)); }
  void operator()(const char*, const std::string& value) {
    put(static_cast<uint32_t>(value.size()));
    out_ += value;
  }
  template <typename T>
  void put(T value) {
    char bytes[sizeof value];
    memcpy(bytes, &value, sizeof value);
    out_.append(bytes, sizeof bytes);
  }

 private:
  std::string& out_;
};

class Reader {
 public:
  explicit Reader(std::string_view left) : left_(left) {}
  void operator()(const char*, uint64_t& value) { value = take<uint64_t>(); }
  void operator()(const char*, bool& value) {
    const auto byte = take<uint8_t>();
    good_ = good_ && byte <= 1;
    value = byte == 1;
  }
  void operator()(const char*, std::string& value) {
    const auto size = take<uint32_t>();
    good_ = good_ && size <= left_.size();
    if (!good_) return;
    value = left_.substr(0, size);
    left_.remove_prefix(size);
  }
  template <typename T>
  T take() {
    T value = 0;
    good_ = good_ && left_.size() >= sizeof value;
    if (!good_) return 0;
    memcpy(&value, left_.data(), sizeof value);
    left_.remove_prefix(sizeof value);
    return value;
  }
  bool all_taken() const { return good_ && left_.empty(); }

 private:
  std::string_view left_;
  bool good_ = true;
};

#define MESSAGE(name, number, fields)                   \
  template <typename M, typename Visitor>               \
  requires std::is_same_v<std::remove_const_t<M>, name> \
  void each_field([[maybe_unused]] M& m, [[maybe_unused]] Visitor& v) { fields }
#define TEXT(name) v(#name, m.name);
#define NUMBER(name) v(#name, m.name);
#define FLAG(name) v(#name, m.name);
#include "link/messages.def"

template <typename M>
bool read_body(Reader& reader, Body& body) {
  M message;
  each_field(message, reader);
  body = std::move(message);
  return true;
}

// False: no such type.
bool read_body(uint8_t type, Reader& reader, Body& body) {
  switch (Type{type}) {
#define MESSAGE(name, number, fields) \
  case Type::name:                    \
    return read_body<name>(reader, body);
#define TEXT(name)
#define NUMBER(name)
#define FLAG(name)
#include "link/messages.def"
  }
  return false;
}

}  // namespace

std::string_view name_of(Type type) {
  switch (type) {
#define MESSAGE(name, number, fields) \
  case Type::name:                    \
    return #name;
#define TEXT(name)
#define NUMBER(name)
#define FLAG(name)
#include "link/messages.def"
  }
  return "?";
}

Type type_of(const Body& body) {
  return std::visit([](const auto& message) { return std::decay_t<decltype(message)>::kType; }, body);
}

std::string text_of(const Body& body) {
  std::string text;
  const auto line = [&](const char* name, const auto& value) { text += fmt::format("{} {}\n", name, value); };
  std::visit([&](const auto& message) { each_field(message, line); }, body);
  return text;
}

std::string encode(const Body& body, uint32_t request) {
  std::string bytes;
  Writer writer(bytes);
  writer.put(kProtocol);
  writer.put(static_cast<uint8_t>(type_of(body)));
  writer.put(uint16_t{0});
  writer.put(request);
  std::visit([&](const auto& message) { each_field(message, writer); }, body);
  return bytes;
}

Result<Envelope> decode(std::string_view bytes) {
  if (bytes.size() > kMaxMessage) return Error{Errc::limit, "control channel: message too long"};
  if (bytes.size() < kHeader) return Error{Errc::invalid, "control channel: message too short"};
  Reader reader(bytes);
  const auto protocol = reader.take<uint8_t>();
  if (protocol != kProtocol)
    return Error{Errc::invalid,
                 fmt::format("control channel: protocol {} where {} is spoken: tracer and supervisor are of two builds",
                             protocol, kProtocol)};
  const auto type = reader.take<uint8_t>();
  const auto zero = reader.take<uint16_t>();
  Envelope envelope;
  envelope.request = reader.take<uint32_t>();
  if (zero != 0 || !read_body(type, reader, envelope.body))
    return Error{Errc::invalid, fmt::format("control channel: a message of type {} is not understood", type)};
  if (!reader.all_taken())
    return Error{Errc::invalid, fmt::format("control channel: {} is malformed", name_of(Type{type}))};
  return envelope;
}

}  // namespace oboro::link
