// Structure layouts out of a kernel's BTF (BPF Type Format: kernel Documentation/bpf/btf.rst), read with libbpf.
#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "guest/profile/bytes.h"
#include "guest/profile/profile.h"

struct btf;

namespace oboro::guest {

class Btf {
 public:
  // structures: the names of all structures and enumerations that will be asked for. (The strings must outlive the
  // result.) Errors: not_found (there is no BTF in blob), invalid (the BTF is malformed).
  static Result<Btf> load(Bytes blob, std::span<const std::string_view> structures);

  // path: "struct.member[.member...]". Members of anonymous structures and unions are found by their own names. Errors:
  // not_found; unsupported (a bit field, or several structures of that name that disagree); limit.
  Result<uint32_t> offset_of(std::string_view path) const;

  // The size of a structure in bytes. Errors: as offset_of().
  Result<uint32_t> size_of(std::string_view structure) const;

  // The value of an enumerator, "enum.ENUMERATOR", up to 2^20. Errors: as offset_of().
  Result<uint32_t> enumerator(std::string_view path) const;

  Result<uint32_t> value_of(Measure measure, std::string_view path) const {
    return measure == Measure::size ? size_of(path) : measure == Measure::offset ? offset_of(path) : enumerator(path);
  }

 private:
  struct Free {
    void operator()(btf* types) const;
  };
  struct Member {
    uint64_t offset;  // bytes
    uint32_t type;
  };

  Result<Member> find_member(uint32_t structure, std::string_view name) const;
  Result<uint32_t> offset_in(uint32_t structure, std::string_view members) const;
  uint32_t without_modifiers(uint32_t type) const;
  template <typename Measure>
  Result<uint32_t> agreed(std::string_view structure, Measure measure) const;

  std::unique_ptr<btf, Free> types_;
  std::unordered_map<std::string_view, std::vector<uint32_t>> structures_;  // name -> type ids
};

}  // namespace oboro::guest
