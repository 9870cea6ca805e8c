#include "tests/support/guest/fake_kernel.h"

#include <algorithm>
#include <array>
#include <bpf/btf.h>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

#include "guest/profile/schema.h"

namespace oboro::testing {
namespace {

using Image = std::vector<std::byte>;

void append(Image& image, const void* data, size_t size) {
  const auto* bytes = static_cast<const std::byte*>(data);
  image.insert(image.end(), bytes, bytes + size);
}

template <typename T>
void append(Image& image, T value) {
  append(image, &value, sizeof(value));
}

void align(Image& image, size_t alignment) {
  while (image.size() % alignment != 0) image.push_back(std::byte{0});
}

// Printable characters stand for themselves, the other codes for longer strings.
std::array<std::string, 256> make_tokens() {
  std::array<std::string, 256> tokens;
  for (size_t i = 0; i < 256; ++i) tokens[i] = i > ' ' && i < 0x7f ? std::string(1, static_cast<char>(i)) : "_unused";
  tokens[1] = "security_";
  tokens[0xff] = "__x64_sys_";
  return tokens;
}

Image compress(const std::string& name) {
  Image out;
  out.push_back(std::byte{'T'});
  for (size_t at = 0; at < name.size();) {
    if (name.compare(at, 9, "security_") == 0) {
      out.push_back(std::byte{1});
      at += 9;
    } else if (name.compare(at, 10, "__x64_sys_") == 0) {
      out.push_back(std::byte{0xff});
      at += 10;
    } else {
      out.push_back(static_cast<std::byte>(name[at++]));
    }
  }
  return out;
}

void append_addresses(Image& image, const std::vector<FakeSymbol>& symbols, KallsymsLayout layout,
                      uint64_t image_base) {
  for (const FakeSymbol& symbol : symbols) {
    if (layout == KallsymsLayout::since_7_0) {
      append(image, static_cast<uint32_t>(symbol.value - image.size()));
    } else if (layout == KallsymsLayout::before_7_0 || symbol.absolute) {
      append(image, static_cast<uint32_t>(symbol.value));
    } else {
      append(image, static_cast<uint32_t>(-1 - static_cast<int64_t>(symbol.value)));
    }
  }
  if (layout == KallsymsLayout::since_7_0) return;
  align(image, 8);
  append(image, image_base);
}

// The structures of schema.def as a tree of members; each leaf is 8 bytes wide.
struct Node {
  std::vector<std::pair<std::string, std::unique_ptr<Node>>> members;
  Node& member(const std::string& name) {
    for (auto& [known, node] : members)
      if (known == name) return *node;
    return *members.emplace_back(name, std::make_unique<Node>()).second;
  }
  uint32_t size() const {
    uint32_t sum = members.empty() ? 8 : 0;
    for (const auto& [name, node] : members) sum += node->size();
    return sum;
  }
};

int add_type(btf* types, const Node& node, const std::string& path, uint32_t offset, int leaf,
             std::map<std::string, uint32_t>& offsets) {
  if (node.members.empty()) return leaf;
  std::vector<int> inner;
  uint32_t at = 0;
  for (const auto& [name, member] : node.members) {
    offsets[path + "." + name] = offset + at;
    inner.push_back(add_type(types, *member, path + "." + name, offset + at, leaf, offsets));
    at += member->size();
  }
  const int id = btf__add_struct(types, path.c_str(), node.size());
  at = 0;
  for (size_t i = 0; i < inner.size(); ++i) {
    btf__add_field(types, node.members[i].first.c_str(), inner[i], at * 8, 0);
    at += node.members[i].second->size();
  }
  return id;
}

void append_note(Image& image) {
  append(image, uint32_t{4});
  append(image, uint32_t{20});
  append(image, uint32_t{3});
  append(image, "GNU", 4);
  for (int i = 1; i <= 20; ++i) image.push_back(static_cast<std::byte>(i));
}

}  // namespace

void append_kallsyms(Image& image, const std::vector<FakeSymbol>& symbols, KallsymsLayout layout, uint64_t image_base) {
  const size_t alignment = layout == KallsymsLayout::since_7_0 ? 4 : 8;
  align(image, alignment);
  if (layout == KallsymsLayout::before_6_5) append_addresses(image, symbols, layout, image_base);
  append(image, static_cast<uint32_t>(symbols.size()));
  align(image, alignment);
  const size_t names = image.size();
  std::vector<uint32_t> markers;
  for (size_t i = 0; i < symbols.size(); ++i) {
    if (i % 256 == 0) markers.push_back(static_cast<uint32_t>(image.size() - names));
    const Image name = compress(symbols[i].name);
    if (name.size() < 0x80) {
      image.push_back(static_cast<std::byte>(name.size()));
    } else {
      image.push_back(static_cast<std::byte>(0x80 | (name.size() & 0x7f)));
      image.push_back(static_cast<std::byte>(name.size() >> 7));
    }
    append(image, name.data(), name.size());
  }
  align(image, alignment);
  for (uint32_t marker : markers) append(image, marker);
  align(image, alignment);
  std::array<uint16_t, 256> index{};
  const size_t table = image.size();
  const auto tokens = make_tokens();
  for (size_t i = 0; i < tokens.size(); ++i) {
    index[i] = static_cast<uint16_t>(image.size() - table);
    append(image, tokens[i].c_str(), tokens[i].size() + 1);
  }
  align(image, alignment);
  append(image, index.data(), sizeof(index));
  if (layout != KallsymsLayout::before_6_5) append_addresses(image, symbols, layout, image_base);
  for (size_t i = 0; i < 3 * symbols.size(); ++i) image.push_back(std::byte{0});  // seqs_of_names
}

std::vector<FakeSymbol> filler_symbols(uint64_t first_address) {
  std::vector<FakeSymbol> symbols;
  for (uint64_t i = 0; i < 600; ++i) symbols.push_back({"filler_" + std::to_string(i), first_address + 16 * i});
  symbols.push_back({std::string(300, 'l'), first_address + 16 * 600});  // a length of two bytes
  return symbols;
}

std::vector<std::byte> make_fake_btf(std::map<std::string, uint32_t>& offsets) {
  const std::unique_ptr<btf, decltype(&btf__free)> types(btf__new_empty(), btf__free);
  Node structures;
  int value = 5;
  for (const auto& entry : guest::kFieldSchema) {
    if (entry.measure == guest::Measure::enumerator) {
      const std::string text(entry.alternatives[0]);
      const size_t dot = text.find('.');
      btf__add_enum(types.get(), text.substr(0, dot).c_str(), 4);
      btf__add_enum_value(types.get(), text.substr(dot + 1).c_str(), value);
      offsets[text] = static_cast<uint32_t>(value++);
      continue;
    }
    Node* at = &structures;
    std::string_view path = entry.alternatives[0];
    while (!path.empty()) {
      const std::string_view name = path.substr(0, path.find('.'));
      path.remove_prefix(std::min(path.size(), name.size() + 1));
      at = &at->member(std::string(name));
    }
    if (entry.measure == guest::Measure::size) at->member("padding");
  }
  const int leaf = btf__add_int(types.get(), "long", 8, BTF_INT_SIGNED);
  for (const auto& [name, node] : structures.members) {
    add_type(types.get(), *node, name, 0, leaf, offsets);
    offsets[name] = node->size();
  }
  uint32_t size = 0;
  const void* data = btf__raw_data(types.get(), &size);
  Image out;
  append(out, data, size);
  return out;
}

FakeKernel make_fake_kernel(KallsymsLayout layout, const std::string& without) {
  FakeKernel kernel;
  std::vector<FakeSymbol> symbols;
  auto define = [&](const std::string& name, uint64_t value) {
    if (name != without) symbols.push_back({name, value});
  };
  define("_stext", 0);
  uint64_t address = 16;
  for (const auto& entry : guest::kSymbolSchema) {
    const std::string name(entry.alternatives[0]);
    if (name == "_stext" || name == "_etext" || name == "linux_banner" || name == "__start_notes") continue;
    define(entry.suffix_ok ? name + ".constprop.0" : name, address += 16);
  }
  for (FakeSymbol& filler : filler_symbols(address + 16)) symbols.push_back(filler);
  address = symbols.back().value + 16;
  define("_etext", address);

  kernel.image.resize(address, std::byte{0xcc});
  align(kernel.image, 64);
  define("linux_banner", kernel.image.size());
  const std::string banner = std::string("Linux version ") + kFakeRelease + " (builder@nowhere) #1 SMP\n";
  append(kernel.image, banner.c_str(), banner.size() + 1);
  align(kernel.image, 8);
  define("__start_notes", kernel.image.size());
  append_note(kernel.image);
  define("__stop_notes", kernel.image.size());
  const Image types = make_fake_btf(kernel.offsets);
  align(kernel.image, 8);
  define("__start_BTF", kernel.image.size());
  append(kernel.image, types.data(), types.size());
  define("__stop_BTF", kernel.image.size());
  for (const FakeSymbol& symbol : symbols) kernel.symbols[symbol.name] = symbol.value;
  append_kallsyms(kernel.image, symbols, layout, kernel.base);
  align(kernel.image, 4096);
  return kernel;
}

}  // namespace oboro::testing
