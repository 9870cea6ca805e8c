// The symbol table of a running Linux kernel, found in its image by its form (kernel: scripts/kallsyms.c,
// kernel/kallsyms.c).
//
// Three layouts exist in the kernels that have what Oboro needs (6.1 on); all of them hold
//   num_syms (u32), names (per symbol: its length, then one byte per token), markers (u32: where each 256th name
//   starts), token_table (256 strings), token_index (256 x u16: where each of them starts);
// they differ in the meaning of an address, and in where addresses stand:
//   up to 6.4    offsets (u32), relative_base (u64, moved by KASLR) before num_syms
//   6.5 to 6.19  offsets, relative_base after token_index
//   from 7.0     after token_index, each address relative to its own entry; no relative_base; tables 4-aligned, not 8
// Up to 6.14 on SMP, an offset >= 0 is an absolute (per-CPU) value, and a negative one stands for base - 1 - offset.
// Later it is unsigned, from the base. The kernel's version is not asked for: a layout counts if all of it makes sense.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "guest/profile/bytes.h"
#include "guest/profile/profile.h"

namespace oboro::guest {

class Kallsyms {
 public:
  struct Wanted {
    std::string_view name;
    bool suffix_ok = false;  // name.constprop.N and name.isra.N (also both) are as good as the name
  };
  struct Found {
    SymbolValue value;
    bool ambiguous = false;  // several symbols of this name, at different addresses; value is the first one's
  };

  // The image must outlive the result. Errors: not_found (no such tables), invalid (the addresses in the tables make no
  // sense).
  static Result<Kallsyms> find(Bytes image, Gva image_base);

  // One pass over all names. The result is in the order of wanted.
  std::vector<Found> lookup(std::span<const Wanted> wanted) const;

  size_t size() const { return count_; }

 private:
  enum class Encoding : uint8_t { base_relative, absolute_percpu, self_relative };
  struct Addresses {
    Encoding encoding;
    uint64_t table;     // image offset of the first entry
    uint64_t base = 0;  // image offset that relative_base stands for
  };

  bool find_tokens();
  bool tokens_at(uint64_t table);
  bool find_names();
  std::optional<uint64_t> names_end(uint64_t names, uint32_t count, std::vector<uint32_t>& markers,
                                    uint64_t& budget) const;
  bool names_at(uint64_t names, uint32_t count, uint64_t& budget);
  bool find_addresses(Gva image_base);
  bool addresses_make_sense(const Addresses& addresses) const;
  SymbolValue address(const Addresses& addresses, uint64_t index) const;  // index < count_, table in the image

  Bytes image_;
  std::array<std::string_view, 256> tokens_{};
  uint64_t token_table_ = 0;
  uint64_t after_token_index_ = 0;
  uint64_t num_syms_ = 0;  // image offset of num_syms
  uint64_t names_ = 0;
  uint64_t names_size_ = 0;
  uint32_t count_ = 0;
  Addresses addresses_{};
};

}  // namespace oboro::guest
