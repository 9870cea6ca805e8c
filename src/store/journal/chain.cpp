#include "store/journal/chain.h"

#include <algorithm>
#include <nettle/sha2.h>

namespace oboro::store {
namespace {

constexpr std::string_view kBefore = ",\"hash\":\"", kBehind = "\"}";
constexpr std::string_view kHexadecimal = "0123456789abcdef";

void update(sha256_ctx& context, std::string_view bytes) {
  sha256_update(&context, bytes.size(), reinterpret_cast<const uint8_t*>(bytes.data()));
}

}  // namespace

std::string hash_of(std::string_view previous, std::string_view text) {
  sha256_ctx context;
  sha256_init(&context);
  update(context, previous);
  update(context, "\n");
  update(context, text);
  uint8_t digest[SHA256_DIGEST_SIZE];
  sha256_digest(&context, sizeof digest, digest);
  std::string out;
  out.reserve(kHashDigits);
  for (const uint8_t byte : digest) {
    out += kHexadecimal[byte >> 4];
    out += kHexadecimal[byte & 15];
  }
  return out;
}

std::optional<HashedLine> split_hash(std::string_view line) {
  constexpr size_t kSize = kBefore.size() + kHashDigits + kBehind.size();
  if (line.size() <= kSize) return std::nullopt;
  const size_t at = line.size() - kSize;
  const std::string_view hash = line.substr(at + kBefore.size(), kHashDigits);
  if (line.substr(at, kBefore.size()) != kBefore || !line.ends_with(kBehind)) return std::nullopt;
  if (!std::ranges::all_of(hash, [](char c) { return kHexadecimal.find(c) != std::string_view::npos; }))
    return std::nullopt;
  return HashedLine{line.substr(0, at), hash};
}

std::string append_hash(std::string_view previous, size_t begin, std::string& out) {
  out.pop_back();  // the object's '}'
  std::string hash = hash_of(previous, std::string_view(out).substr(begin));
  out += kBefore;
  out += hash;
  out += kBehind;
  return hash;
}

}  // namespace oboro::store
