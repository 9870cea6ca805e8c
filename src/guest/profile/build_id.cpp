#include <algorithm>
#include <array>
#include <fmt/format.h>

#include "guest/profile/build.h"
#include "guest/profile/bytes.h"

namespace oboro::guest {
namespace {

constexpr uint32_t kGnu = 0x00554e47;     // "GNU\0"
constexpr uint32_t kBuildId = 3;          // NT_GNU_BUILD_ID
constexpr uint32_t kMaxDescription = 64;  // bytes; 20 with SHA-1
constexpr uint32_t kBtf = 0x0001eb9f;     // btf_header: magic, version 1, no flags
constexpr uint64_t kMinBtfHeader = 24;
constexpr uint64_t kMaxBtfHeader = 256;
constexpr uint64_t kNotes = 8192;  // bytes: .notes, and the padding that aligns .BTF to a page
constexpr size_t kBlock = 1024;    // words

// The description of the build-ID note whose name is at image[at]; empty if there is none.
Bytes note_at(Bytes image, uint64_t at) {
  if (at < 12 || load<uint32_t>(image, at) != kGnu || load<uint32_t>(image, at - 4) != kBuildId ||
      load<uint32_t>(image, at - 12) != 4u)
    return {};
  const uint32_t size = *load<uint32_t>(image, at - 8);
  if (size > kMaxDescription) return {};
  return slice(image, at + 4, size).value_or(Bytes());
}

// The last build-ID note before image[types], if a BTF header is there.
Bytes note_before(Bytes image, uint64_t types) {
  const auto header = load<uint32_t>(image, types + 4);
  if (load<uint32_t>(image, types) != kBtf || !header || *header < kMinBtfHeader || *header > kMaxBtfHeader) return {};
  const uint64_t first = types > kNotes ? types - kNotes : 0;
  for (uint64_t at = types; at >= first + 4;) {
    at -= 4;
    if (const Bytes found = note_at(image.first(types), at); !found.empty()) return found;
  }
  return {};
}

}  // namespace

std::string kernel_build_id(std::span<const std::byte> image) {
  std::array<uint32_t, kBlock> words{};
  for (size_t block = 0; block < image.size(); block += sizeof(words)) {
    const size_t size = std::min(image.size() - block, sizeof(words));
    std::memcpy(words.data(), image.data() + block, size);
    uint32_t hit = 0;
    for (const uint32_t word : words) hit |= word == kBtf;  // without a branch, so that it is vectorised
    if (!hit) continue;
    for (size_t at = 0; at < size; at += 4) {
      if (words[at / 4] != kBtf) continue;
      const Bytes id = note_before(image, block + at);
      if (id.empty()) continue;
      std::string hex;
      for (const std::byte byte : id) hex += fmt::format("{:02x}", static_cast<uint8_t>(byte));
      return hex;
    }
  }
  return {};
}

}  // namespace oboro::guest
