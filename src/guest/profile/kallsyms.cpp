#include "guest/profile/kallsyms.h"

#include <algorithm>
#include <unordered_map>

namespace oboro::guest {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kDigitTokens = "0\0001\0002\0003\0004\0005\0006\0007\0008\0009\0"sv;
constexpr size_t kMaxDigitMatches = 1024;  // real kernels have fewer than ten
constexpr size_t kMaxSymbol = 512;         // KSYM_NAME_LEN
constexpr uint32_t kMinSymbols = 512;      // two markers at least, so that they prove something
constexpr uint32_t kMaxSymbols = 4 << 20;
constexpr uint64_t kGroup = 256;             // names between two markers
constexpr uint64_t kNamesBudget = 32 << 20;  // names stepped over in all while num_syms is searched for
constexpr uint64_t kMaxAddress = 1 << 30;    // the kernel maps its image within 1 GiB

// The length of the compressed name at `at`; moves `at` past it (ULEB128 in at most two bytes, since 6.1).
std::optional<uint64_t> take_length(Bytes image, uint64_t& at) {
  if (at >= image.size()) return std::nullopt;
  uint64_t length = static_cast<uint8_t>(image[at++]);
  if (length & 0x80) {
    if (at >= image.size()) return std::nullopt;
    length = (length & 0x7f) | static_cast<uint64_t>(image[at++]) << 7;
  }
  if (length == 0 || length > kMaxSymbol) return std::nullopt;
  return length;
}

// "foo.isra.0.constprop.1" -> "foo"; nothing if the name has no such suffix, or another one (.cold, .part.0).
std::optional<std::string_view> without_suffix(std::string_view name) {
  const size_t dot = name.find('.');
  if (dot == std::string_view::npos || dot == 0) return std::nullopt;
  std::string_view rest = name.substr(dot);
  while (!rest.empty()) {
    if (rest.starts_with(".constprop.")) {
      rest.remove_prefix(".constprop."sv.size());
    } else if (rest.starts_with(".isra.")) {
      rest.remove_prefix(".isra."sv.size());
    } else {
      return std::nullopt;
    }
    const size_t digits = std::min(rest.find_first_not_of("0123456789"), rest.size());
    if (digits == 0) return std::nullopt;
    rest.remove_prefix(digits);
  }
  return name.substr(0, dot);
}

}  // namespace

Result<Kallsyms> Kallsyms::find(Bytes image, Gva image_base) {
  Kallsyms tables;
  tables.image_ = image;
  if (!tables.find_tokens()) return Error{Errc::not_found, "no kallsyms in the image (no token table)"};
  if (!tables.find_names()) return Error{Errc::not_found, "no kallsyms in the image (no names)"};
  if (!tables.find_addresses(image_base)) return Error{Errc::invalid, "kallsyms: the addresses make no sense"};
  return tables;
}

// Digits are characters of some symbol in every kernel, so they stand for themselves in the token table: token '0' is
// "0". The table starts 48 strings before it.
bool Kallsyms::find_tokens() {
  const std::string_view text = as_text(image_);
  size_t at = 0;
  for (size_t match = 0; match < kMaxDigitMatches; ++match, ++at) {
    at = text.find(kDigitTokens, at);
    if (at == std::string_view::npos) return false;
    size_t start = at;
    size_t tokens = 0;
    while (start > 0 && at - start < 48 * (kMaxSymbol + 1)) {
      if (text[start - 1] == '\0' && tokens++ == 48) break;  // the end of the bytes before the table
      --start;
    }
    if (tokens == 49 && tokens_at(start)) return true;
  }
  return false;
}

bool Kallsyms::tokens_at(uint64_t table) {
  if (table % 4 != 0) return false;
  const std::string_view text = as_text(image_);
  std::array<uint16_t, 256> index{};
  uint64_t at = table;
  for (size_t token = 0; token < 256; ++token) {
    const size_t length = text.substr(at, kMaxSymbol + 1).find('\0');
    if (length == 0 || length == std::string_view::npos || at - table > UINT16_MAX) return false;
    index[token] = static_cast<uint16_t>(at - table);
    tokens_[token] = text.substr(at, length);
    at += length + 1;
  }
  for (uint64_t alignment : {4, 8}) {
    const uint64_t begin = align_up(at, alignment);
    const auto stored = slice(image_, begin, sizeof(index));
    if (!stored || std::memcmp(stored->data(), index.data(), sizeof(index)) != 0) continue;
    token_table_ = table;
    after_token_index_ = begin + sizeof(index);
    return true;
  }
  return false;
}

// In all layouts num_syms, names and markers follow each other, somewhere before token_table. Going back from there,
// each number is tried as num_syms, until the names after it end at markers that agree with them.
bool Kallsyms::find_names() {
  uint64_t budget = kNamesBudget;
  for (uint64_t at = token_table_ & ~3ULL; at >= 4 && budget > 0;) {
    at -= 4;
    const auto count = load<uint32_t>(image_, at);
    if (!count || *count < kMinSymbols || *count > kMaxSymbols) continue;
    num_syms_ = at;
    if (names_at(at + 4, *count, budget)) return true;
    if (load<uint32_t>(image_, at + 4) == 0u && names_at(at + 8, *count, budget)) return true;
  }
  return false;
}

std::optional<uint64_t> Kallsyms::names_end(uint64_t names, uint32_t count, std::vector<uint32_t>& markers,
                                            uint64_t& budget) const {
  uint64_t at = names;
  markers.clear();
  for (uint32_t i = 0; i < count; ++i) {
    if (budget == 0) return std::nullopt;
    --budget;
    if (i % kGroup == 0) {
      if (at - names > UINT32_MAX) return std::nullopt;
      markers.push_back(static_cast<uint32_t>(at - names));
    }
    const auto length = take_length(image_, at);
    if (!length || at > token_table_ || *length > token_table_ - at) return std::nullopt;
    at += *length;
  }
  return at;
}

bool Kallsyms::names_at(uint64_t names, uint32_t count, uint64_t& budget) {
  std::vector<uint32_t> markers;
  const auto end = names_end(names, count, markers, budget);
  if (!end) return false;
  const uint64_t size = markers.size() * sizeof(uint32_t);
  for (uint64_t alignment : {4, 8}) {
    const auto stored = slice(image_, align_up(*end, alignment), size);
    if (!stored || std::memcmp(stored->data(), markers.data(), size) != 0) continue;
    names_ = names;
    names_size_ = *end - names;
    count_ = count;
    return true;
  }
  return false;
}

bool Kallsyms::find_addresses(Gva image_base) {
  const uint64_t size = align_up(uint64_t{count_} * sizeof(uint32_t), 8);
  std::vector<Addresses> candidates;
  auto based = [&](uint64_t table, uint64_t base_at) {
    const auto base = load<uint64_t>(image_, base_at);
    if (!base || *base < image_base.value || *base - image_base.value >= image_.size()) return;
    candidates.push_back({Encoding::base_relative, table, *base - image_base.value});
    candidates.push_back({Encoding::absolute_percpu, table, *base - image_base.value});
  };
  const uint64_t after = align_up(after_token_index_, 8);
  based(after, after + size);
  if (num_syms_ >= size + 8) based(num_syms_ - 8 - size, num_syms_ - 8);
  // Tried last, because a table of ascending offsets from a base also ascends when it is taken for this one.
  candidates.push_back({Encoding::self_relative, after_token_index_});
  auto good = std::find_if(candidates.begin(), candidates.end(), [&](auto& c) { return addresses_make_sense(c); });
  if (good == candidates.end()) return false;
  addresses_ = *good;
  return true;
}

// Addresses ascend, stay in the kernel's 1 GiB, and begin before the tables: text is mapped before read-only data.
bool Kallsyms::addresses_make_sense(const Addresses& addresses) const {
  if (!slice(image_, addresses.table, uint64_t{count_} * sizeof(uint32_t))) return false;
  SymbolValue last{SymbolValue::Kind::absolute, 0};
  bool any_relative = false;
  for (uint32_t i = 0; i < count_; ++i) {
    const SymbolValue now = address(addresses, i);
    if (now.value >= kMaxAddress) return false;
    if (now.kind == last.kind && now.value < last.value) return false;
    if (now.kind == SymbolValue::Kind::relative) {
      if (!any_relative && now.value >= addresses.table) return false;
      any_relative = true;
    } else if (any_relative) {
      return false;  // absolute values are small numbers, and kernel addresses are large ones
    }
    last = now;
  }
  return any_relative;
}

SymbolValue Kallsyms::address(const Addresses& addresses, uint64_t index) const {
  const uint64_t at = addresses.table + index * sizeof(uint32_t);
  const uint32_t entry = load<uint32_t>(image_, at).value_or(0);
  const auto with_sign = static_cast<uint64_t>(static_cast<int64_t>(static_cast<int32_t>(entry)));
  // A sum below zero wraps to a value far above kMaxAddress, which addresses_make_sense() refuses.
  switch (addresses.encoding) {
    case Encoding::base_relative:
      return {SymbolValue::Kind::relative, addresses.base + entry};
    case Encoding::absolute_percpu:
      if (static_cast<int32_t>(entry) >= 0) return {SymbolValue::Kind::absolute, entry};
      return {SymbolValue::Kind::relative, addresses.base - 1 - with_sign};
    case Encoding::self_relative:
      return {SymbolValue::Kind::relative, at + with_sign};
  }
  return {};
}

std::vector<Kallsyms::Found> Kallsyms::lookup(std::span<const Wanted> wanted) const {
  std::vector<Found> found(wanted.size());
  std::unordered_multimap<std::string_view, size_t> by_name;
  for (size_t i = 0; i < wanted.size(); ++i) by_name.emplace(wanted[i].name, i);

  auto note = [&](std::string_view name, bool has_suffix, uint32_t index) {
    for (auto [at, end] = by_name.equal_range(name); at != end; ++at) {
      if (has_suffix && !wanted[at->second].suffix_ok) continue;
      Found& entry = found[at->second];
      const SymbolValue value = address(addresses_, index);
      if (entry.value.kind == SymbolValue::Kind::missing) {
        entry.value = value;
      } else if (entry.value.kind != value.kind || entry.value.value != value.value) {
        entry.ambiguous = true;
      }
    }
  };

  std::array<char, kMaxSymbol> name;
  uint64_t at = names_;
  for (uint32_t i = 0; i < count_; ++i) {
    const uint64_t length =
        take_length(image_, at).value_or(0);  // names_end() has seen that all names are in the image
    size_t size = 0;
    for (std::byte token : image_.subspan(at, length)) {
      const std::string_view text = tokens_[static_cast<uint8_t>(token)];
      if (text.size() > name.size() - size) {  // no wanted name is this long
        size = 0;
        break;
      }
      size = static_cast<size_t>(std::copy(text.begin(), text.end(), name.begin() + size) - name.begin());
    }
    at += length;
    if (size < 2) continue;
    const std::string_view plain(name.data() + 1, size - 1);  // after the symbol's type, as nm(1) prints it
    note(plain, false, i);
    if (const auto stem = without_suffix(plain)) note(*stem, true, i);
  }
  return found;
}

}  // namespace oboro::guest
