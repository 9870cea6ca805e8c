#include "guest/profile/build.h"

#include <algorithm>
#include <exception>
#include <fmt/format.h>
#include <vector>

#include "guest/profile/btf.h"
#include "guest/profile/bytes.h"
#include "guest/profile/kallsyms.h"
#include "guest/profile/schema.h"

namespace oboro::guest {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kBanner = "Linux version "sv;
constexpr size_t kMaxRelease = 64;     // __NEW_UTS_LEN
constexpr size_t kMaxImage = 1 << 30;  // where x86-64 maps its kernel

// Collects everything that a kernel lacks, so that one error names all of it.
class Lacks {
 public:
  void add(const SchemaEntry& entry, std::string_view why) {
    if (entry.presence != Presence::required) return;
    if (!text_.empty()) text_ += ", ";
    text_ += fmt::format("{} ({}: {})", entry.id, entry.alternatives[0], why);
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

struct Extent {
  uint64_t begin = 0;
  uint64_t end = 0;
};

// The symbols of schema.def, and those that only the builder needs.
class Symbols {
 public:
  explicit Symbols(const Kallsyms& kallsyms) {
    std::vector<Kallsyms::Wanted> wanted;
    for (const SchemaEntry& entry : kSymbolSchema)
      for (std::string_view name : entry.alternatives)
        if (!name.empty()) wanted.push_back({name, entry.suffix_ok});
    first_own_ = wanted.size();
    for (std::string_view name : kOwn) wanted.push_back({name, false});
    found_ = kallsyms.lookup(wanted);
  }

  void fill(Profile& profile, Lacks& lacks) const {
    size_t at = 0;
    for (size_t i = 0; i < kSymbolCount; ++i) {
      std::string_view why = "no such symbol";
      for (std::string_view name : kSymbolSchema[i].alternatives) {
        if (name.empty()) continue;
        const Kallsyms::Found& found = found_[at++];
        if (profile.symbols[i].kind != SymbolValue::Kind::missing) continue;
        if (found.ambiguous) why = "several symbols of this name";
        if (!found.ambiguous) profile.symbols[i] = found.value;
      }
      if (profile.symbols[i].kind == SymbolValue::Kind::missing) lacks.add(kSymbolSchema[i], why);
    }
  }

  Extent btf() const { return extent(0); }

 private:
  static constexpr std::array kOwn = {"__start_BTF"sv, "__stop_BTF"sv};

  Extent extent(size_t own) const {
    const Kallsyms::Found& begin = found_[first_own_ + own];
    const Kallsyms::Found& end = found_[first_own_ + own + 1];
    for (const auto& found : {begin, end})
      if (found.ambiguous || found.value.kind != SymbolValue::Kind::relative) return {};
    if (end.value.value < begin.value.value) return {};
    return {begin.value.value, end.value.value};
  }

  std::vector<Kallsyms::Found> found_;
  size_t first_own_ = 0;
};

Bytes part(Bytes image, Extent extent) {
  return slice(image, extent.begin, extent.end - extent.begin).value_or(Bytes());
}

Result<Btf> find_types(Bytes image, const Symbols& symbols) {
  std::vector<std::string_view> structures;
  for (const SchemaEntry& entry : kFieldSchema)
    for (std::string_view path : entry.alternatives)
      if (!path.empty()) structures.push_back(path.substr(0, path.find('.')));
  return Btf::load(part(image, symbols.btf()), structures);
}

void fill_fields(const Btf& types, Profile& profile, Lacks& lacks) {
  profile.fields.fill(Profile::kMissing);
  for (size_t i = 0; i < kFieldCount; ++i) {
    const SchemaEntry& entry = kFieldSchema[i];
    std::string why;
    for (std::string_view path : entry.alternatives) {
      if (path.empty()) break;
      const auto value = types.value_of(entry.measure, path);
      if (value) {
        profile.fields[i] = *value;
        break;
      }
      if (why.empty() || value.error().code != Errc::not_found) why = value.error().message;
    }
    if (profile.fields[i] == Profile::kMissing) lacks.add(entry, why);
  }
}

// "Linux version 6.1.0-49-cloud-amd64 (debian-kernel@...": the word after the second blank.
std::string release_at(Bytes image, uint64_t offset) {
  const auto text = slice(image, offset, std::min<uint64_t>(kBanner.size() + kMaxRelease + 1, image.size() - offset));
  std::string_view banner = as_text(*text);
  if (!banner.starts_with(kBanner)) return {};
  banner.remove_prefix(kBanner.size());
  const size_t end = banner.find(' ');
  if (end == std::string_view::npos || end == 0) return {};
  const std::string_view release = banner.substr(0, end);
  const bool printable = std::all_of(release.begin(), release.end(), [](char c) { return c > ' ' && c < 0x7f; });
  return printable ? std::string(release) : std::string();
}

std::string kernel_release(Bytes image, const SymbolValue& banner) {
  if (banner.kind == SymbolValue::Kind::relative && banner.value < image.size()) {
    std::string release = release_at(image, banner.value);
    if (!release.empty()) return release;
  }
  const size_t at = as_text(image).find(kBanner);
  return at == std::string_view::npos ? std::string() : release_at(image, at);
}

Result<Profile> build(Bytes image, Gva image_base) {
  if (image.size() > kMaxImage) return Error{Errc::invalid, "the image is larger than a kernel can be"};
  const auto kallsyms = Kallsyms::find(image, image_base);
  if (!kallsyms) return kallsyms.error();
  const Symbols symbols(*kallsyms);
  const auto types = find_types(image, symbols);
  if (!types) return types.error();

  Profile profile;
  Lacks lacks;
  fill_fields(*types, profile, lacks);
  symbols.fill(profile, lacks);
  if (!lacks.text().empty()) return Error{Errc::unsupported, "this kernel lacks " + lacks.text()};
  for (Symbol inside : {Symbol::stext, Symbol::etext}) {
    const SymbolValue& symbol = profile[inside];
    if (symbol.kind != SymbolValue::Kind::relative || symbol.value >= image.size())
      return Error{Errc::invalid, fmt::format("kallsyms: {} is outside the image", name(inside))};
  }
  profile.release = kernel_release(image, profile[Symbol::linux_banner]);
  if (profile.release.empty()) return Error{Errc::not_found, "no version of Linux in the image"};
  profile.build_id = kernel_build_id(image);
  if (profile.build_id.empty()) return Error{Errc::not_found, "no build ID in the image"};
  return profile;
}

}  // namespace

Result<Profile> build_profile(std::span<const std::byte> image, Gva image_base) {
  try {
    return build(image, image_base);
  } catch (const std::exception& error) {  // no memory
    return Error{Errc::limit, error.what()};
  }
}

}  // namespace oboro::guest
