// A kernel image that was never compiled: as much of one as the builder of profiles looks at. For tests and fuzz seeds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace oboro::testing {

// Where kallsyms keeps addresses, and how: see src/guest/profile/kallsyms.h.
enum class KallsymsLayout { before_6_5, before_6_15, before_7_0, since_7_0 };

struct FakeSymbol {
  std::string name;
  uint64_t value = 0;     // from the image base, or as is
  bool absolute = false;  // a per-CPU offset; only before_6_5 and before_6_15
};

// Appends the tables of these symbols, in the order given, to an image that will be mapped at image_base.
void append_kallsyms(std::vector<std::byte>& image, const std::vector<FakeSymbol>& symbols, KallsymsLayout layout,
                     uint64_t image_base);

// At least as many symbols as the tables of a kernel must have, at ascending addresses.
std::vector<FakeSymbol> filler_symbols(uint64_t first_address);

struct FakeKernel {
  uint64_t base = 0xffffffff9e400000;
  std::vector<std::byte> image;
  std::map<std::string, uint32_t> offsets;  // by the paths of schema.def
  std::map<std::string, uint64_t> symbols;  // by the names of schema.def, from the base
};

inline constexpr const char* kFakeRelease = "6.1.0-99-fake";
inline constexpr const char* kFakeBuildId = "0102030405060708090a0b0c0d0e0f1011121314";

// Everything of schema.def but the symbol `without`.
FakeKernel make_fake_kernel(KallsymsLayout layout, const std::string& without = {});

// The BTF of such a kernel alone; offsets as in FakeKernel.
std::vector<std::byte> make_fake_btf(std::map<std::string, uint32_t>& offsets);

}  // namespace oboro::testing
