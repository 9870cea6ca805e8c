// Encoding: fixed-width little-endian integers, and strings as u16 length and bytes, in the order below. A field is
// only ever added together with a new version number: both sides come from the same build, an old ring is drained by
// the same version or refused.
#include "event/codec.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace oboro::event {
namespace {

static_assert(std::endian::native == std::endian::little, "integers are copied as they are");

constexpr uint8_t kVersion = 1;

// What one event can take at most: 2 objects and 1 subject, each with its process.
constexpr size_t kFixedBound = 1024;
static_assert(kFixedBound + 3 * kMaxPath + 6 * kMaxExe + 6 * kMaxName + 8 * kMaxWord <= kMaxEncoded);

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

// One description for both directions: Coder is Writer or Reader, and E, S, O are const or not.
template <typename Coder, typename S>
void subject_fields(Coder& coder, S& subject) {
  coder.integer(subject.pid);
  coder.integer(subject.tid);
  coder.integer(subject.start_time_ns);
  coder.string(subject.comm, kMaxWord);
  coder.string(subject.exe, kMaxExe);
  coder.string(subject.cgroup, kMaxExe);
}

template <typename Coder, typename E>
void endpoint_fields(Coder& coder, E& endpoint) {
  coder.string(endpoint.address, kMaxName);
  coder.integer(endpoint.port);
}

template <typename Coder, typename O>
void object_fields(Coder& coder, O& object) {
  coder.enumerator(object.type);
  if (object.type == ObjectType::none) return;
  coder.integer(object.id);
  coder.string(object.path, kMaxPath);
  coder.integer(object.inode);
  coder.integer(object.generation);
  coder.string(object.fs, kMaxName);
  coder.string(object.fs_type, kMaxWord);
  subject_fields(coder, object.process);
  coder.string(object.protocol, kMaxWord);
  endpoint_fields(coder, object.local);
  endpoint_fields(coder, object.remote);
}

template <typename Coder, typename E>
void event_fields(Coder& coder, E& event) {
  coder.enumerator(event.kind);
  coder.enumerator(event.verdict);
  coder.integer(event.seq);
  coder.integer(event.time_ns);
  coder.integer(event.boot);
  coder.integer(event.labels);
  coder.string(event.syscall, kMaxWord);
  subject_fields(coder, event.subject);
  object_fields(coder, event.from);
  object_fields(coder, event.object);
  coder.string(event.detail, kMaxPath);
}

}  // namespace

void encode(const Event& event, std::vector<std::byte>& out) {
  Writer writer(out);
  writer.integer(kVersion);
  event_fields(writer, event);
}

Result<Event> decode(std::span<const std::byte> bytes) {
  Reader reader(bytes);
  uint8_t version = 0;
  reader.integer(version);
  if (!reader.failed() && version != kVersion) reader.fail("unknown version");
  Event event;
  event_fields(reader, event);
  reader.finish();
  if (reader.failed()) return Error{Errc::invalid, reader.message()};
  return event;
}

}  // namespace oboro::event
