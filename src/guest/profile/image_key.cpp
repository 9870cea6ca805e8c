#include <array>
#include <fmt/format.h>

#include "guest/profile/build.h"
#include "guest/profile/bytes.h"

namespace oboro::guest {
namespace {

constexpr uint32_t kGnu = 0x00554e47;     // "GNU\0"
constexpr uint32_t kBuildId = 3;          // NT_GNU_BUILD_ID
constexpr uint32_t kMaxDescription = 64;  // bytes; 20 with SHA-1
constexpr size_t kBlock = 1024;           // words

// 128-bit FNV-1a. It tells kernels apart, no more: who controls the guest's kernel can show any build ID anyway.
class Digest {
 public:
  void add(Bytes bytes) {
    for (std::byte byte : bytes) state_ = (state_ ^ static_cast<uint8_t>(byte)) * kPrime;
  }
  std::string hex() const {
    return fmt::format("{:016x}{:016x}", static_cast<uint64_t>(state_ >> 64), static_cast<uint64_t>(state_));
  }

 private:
  using Word = unsigned __int128;
  static constexpr Word kPrime = (Word{0x0000000001000000} << 64) | 0x000000000000013b;
  Word state_ = (Word{0x6c62272e07bb0142} << 64) | 0x62b821756295c58d;
};

// Adds the build-ID note whose name is at image[at], if there is one.
bool add_note(Bytes image, size_t at, Digest& digest) {
  if (at < 12 || load<uint32_t>(image, at) != kGnu || load<uint32_t>(image, at - 4) != kBuildId ||
      load<uint32_t>(image, at - 12) != 4u)
    return false;
  const auto size = load<uint32_t>(image, at - 8);
  if (!size || *size == 0 || *size > kMaxDescription) return false;
  const auto description = slice(image, at + 4, *size);
  if (!description) return false;
  digest.add(image.subspan(at - 8, 4));
  digest.add(*description);
  return true;
}

}  // namespace

std::string image_key(std::span<const std::byte> image) {
  Digest digest;
  bool any = false;
  std::array<uint32_t, kBlock> words;
  size_t at = 0;
  for (; image.size() - at >= sizeof(words); at += sizeof(words)) {  // notes are 4-aligned
    std::memcpy(words.data(), image.data() + at, sizeof(words));
    uint32_t hit = 0;
    for (size_t i = 0; i < kBlock; ++i) hit |= words[i] == kGnu;  // without a branch, so that it is vectorised
    if (!hit) continue;
    for (size_t i = 0; i < kBlock; ++i) any |= words[i] == kGnu && add_note(image, at + 4 * i, digest);
  }
  for (; at + 4 <= image.size(); at += 4) any |= add_note(image, at, digest);
  return any ? digest.hex() : std::string();
}

}  // namespace oboro::guest
