#include "proxy/wire.h"

#include <cstring>

namespace oboro::proxy {
namespace {

// A header as it is in a frame. Both sides are x86-64, so it has the machine's own byte order.
struct Header {
  uint32_t size;
  uint16_t op;
  uint16_t zero;
  uint64_t id;
  uint32_t handle;
  uint32_t first_size;
  int64_t arguments[4];
};
static_assert(sizeof(Header) == kHeaderSize);

}  // namespace

std::array<std::byte, kHeaderSize> header_of(const Frame& frame) {
  Header header{};
  header.size = static_cast<uint32_t>(kHeaderSize + frame.first.size() + frame.second.size());
  header.op = static_cast<uint16_t>(frame.op);
  header.id = frame.id;
  header.handle = frame.handle;
  header.first_size = static_cast<uint32_t>(frame.first.size());
  std::memcpy(header.arguments, frame.arguments.data(), sizeof header.arguments);
  std::array<std::byte, kHeaderSize> bytes;
  std::memcpy(bytes.data(), &header, sizeof header);
  return bytes;
}

std::optional<Frame> parse(std::span<const std::byte> bytes) {
  Header header;
  if (bytes.size() < sizeof header || bytes.size() > kMaxFrame) return std::nullopt;
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.size != bytes.size() || header.zero != 0 || header.op >= static_cast<uint16_t>(Op::count) ||
      header.first_size > bytes.size() - sizeof header)
    return std::nullopt;
  Frame frame;
  frame.op = static_cast<Op>(header.op);
  frame.id = header.id;
  frame.handle = header.handle;
  std::memcpy(frame.arguments.data(), header.arguments, sizeof header.arguments);
  frame.first = bytes.subspan(sizeof header, header.first_size);
  frame.second = bytes.subspan(sizeof header + header.first_size);
  return frame;
}

}  // namespace oboro::proxy
