#include "guest/profile/btf.h"

#include <algorithm>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <linux/btf.h>

namespace oboro::guest {
namespace {

constexpr size_t kMaxBlob = 64 << 20;         // real ones have 4 to 10 MB
constexpr size_t kMaxMemberName = 128;        // longer than any name in schema.def
constexpr size_t kMaxMembers = 16384;         // looked at for one member name, anonymous ones included
constexpr uint32_t kMaxModifiers = 32;        // typedef, const, ... before a structure
constexpr uint32_t kMaxOffset = 1 << 20;      // no structure of the kernel's comes near this size
constexpr size_t kMaxStructuresPerName = 16;  // different ones, each private to its source file

// The name is cut where no name that is asked for goes on: a hostile blob may be one long string with many users.
std::string_view name_of(const btf* types, uint32_t offset) {
  const char* name = btf__name_by_offset(types, offset);
  return name ? std::string_view(name, strnlen(name, kMaxMemberName)) : std::string_view();
}

// libbpf checks this, too. A second check costs nothing here.
bool header_is_sound(Bytes blob) {
  const auto header = slice(blob, 0, sizeof(btf_header));
  if (!header) return false;
  btf_header h;
  std::memcpy(&h, header->data(), sizeof(h));
  if (h.magic != BTF_MAGIC || h.version != BTF_VERSION || h.flags != 0 || h.hdr_len < sizeof(h)) return false;
  if (h.hdr_len > blob.size()) return false;
  const Bytes body = blob.subspan(h.hdr_len);
  return slice(body, h.type_off, h.type_len) && slice(body, h.str_off, h.str_len);
}

}  // namespace

void Btf::Free::operator()(btf* types) const { btf__free(types); }

Result<Btf> Btf::load(Bytes blob, std::span<const std::string_view> structures) {
  if (blob.empty()) return Error{Errc::not_found, "no BTF in the image"};
  if (blob.size() > kMaxBlob || !header_is_sound(blob)) return Error{Errc::invalid, "BTF: not a sound header"};
  libbpf_set_print(nullptr);  // its messages about a hostile blob are noise on our standard error
  Btf result;
  result.types_.reset(btf__new(blob.data(), static_cast<uint32_t>(blob.size())));
  if (!result.types_) return Error{Errc::invalid, "BTF: libbpf refuses it"};

  for (std::string_view name : structures) result.structures_[name];
  const uint32_t count = btf__type_cnt(result.types_.get());
  for (uint32_t id = 1; id < count; ++id) {
    const btf_type* type = btf__type_by_id(result.types_.get(), id);
    if (!type || !(btf_is_composite(type) || btf_is_enum(type))) continue;
    const auto at = result.structures_.find(name_of(result.types_.get(), type->name_off));
    if (at != result.structures_.end() && at->second.size() < kMaxStructuresPerName) at->second.push_back(id);
  }
  return result;
}

uint32_t Btf::without_modifiers(uint32_t type) const {
  for (uint32_t i = 0; i < kMaxModifiers; ++i) {
    const btf_type* at = btf__type_by_id(types_.get(), type);
    if (!at || !(btf_is_mod(at) || btf_is_typedef(at))) return type;
    type = at->type;
  }
  return 0;  // void: no structure
}

// Looks through anonymous members with a worklist, not by recursion: a hostile type could be deeper than the stack.
Result<Btf::Member> Btf::find_member(uint32_t structure, std::string_view name) const {
  std::vector<Member> open{{0, structure}};
  size_t budget = kMaxMembers;
  while (!open.empty()) {
    const Member in = open.back();
    open.pop_back();
    const btf_type* type = btf__type_by_id(types_.get(), in.type);
    if (!type || !btf_is_composite(type)) continue;
    const btf_member* members = btf_members(type);
    for (uint32_t i = 0; i < btf_vlen(type); ++i) {
      if (budget-- == 0) return Error{Errc::limit, "too many members"};
      const std::string_view member = name_of(types_.get(), members[i].name_off);
      const bool anonymous = member.empty();
      if (!anonymous && member != name) continue;
      const uint32_t bit = btf_member_bit_offset(type, i);
      const bool is_bitfield = btf_member_bitfield_size(type, i) != 0 || bit % 8 != 0;
      const Member found{in.offset + bit / 8, members[i].type};
      if (anonymous) {
        if (!is_bitfield && found.offset <= kMaxOffset) open.push_back({found.offset, without_modifiers(found.type)});
      } else if (is_bitfield) {
        return Error{Errc::unsupported, "a bit field"};
      } else if (found.offset > type->size + in.offset || found.offset > kMaxOffset) {
        return Error{Errc::invalid, "a member outside its structure"};
      } else {
        return found;
      }
    }
  }
  return Error{Errc::not_found, "no such member"};
}

Result<uint32_t> Btf::offset_in(uint32_t structure, std::string_view members) const {
  uint64_t offset = 0;
  while (!members.empty()) {
    const std::string_view name = members.substr(0, members.find('.'));
    members.remove_prefix(std::min(members.size(), name.size() + 1));
    const auto member = find_member(without_modifiers(structure), name);
    if (!member) return member.error();
    offset += member->offset;
    if (offset > kMaxOffset) return Error{Errc::invalid, "a member outside its structure"};
    structure = member->type;
  }
  return static_cast<uint32_t>(offset);
}

// Calls measure(type id) for all structures of the name. Structures without the member do not count; the others must
// agree.
template <typename Measure>
Result<uint32_t> Btf::agreed(std::string_view structure, Measure measure) const {
  const auto at = structures_.find(structure);
  Result<uint32_t> result = Error{Errc::not_found, "no such structure"};
  if (at == structures_.end()) return result;
  for (uint32_t id : at->second) {
    const Result<uint32_t> value = measure(id);
    if (!result) {
      result = value;
    } else if (value && *value != *result) {
      return Error{Errc::unsupported, "several structures of this name"};
    }
  }
  return result;
}

Result<uint32_t> Btf::offset_of(std::string_view path) const {
  const std::string_view structure = path.substr(0, path.find('.'));
  path.remove_prefix(std::min(path.size(), structure.size() + 1));
  return agreed(structure, [&](uint32_t id) { return offset_in(id, path); });
}

Result<uint32_t> Btf::size_of(std::string_view structure) const {
  return agreed(structure, [&](uint32_t id) -> Result<uint32_t> {
    const uint32_t size = btf__type_by_id(types_.get(), id)->size;
    if (size > kMaxOffset) return Error{Errc::invalid, "too large"};
    return size;
  });
}

Result<uint32_t> Btf::enumerator(std::string_view path) const {
  const std::string_view enumeration = path.substr(0, path.find('.'));
  path.remove_prefix(std::min(path.size(), enumeration.size() + 1));
  return agreed(enumeration, [&](uint32_t id) -> Result<uint32_t> {
    const btf_type* type = btf__type_by_id(types_.get(), id);
    if (!btf_is_enum(type)) return Error{Errc::not_found, "no enumeration"};
    const struct btf_enum* values = btf_enum(type);
    for (uint32_t i = 0; i < btf_vlen(type); ++i) {
      if (name_of(types_.get(), values[i].name_off) != path) continue;
      if (values[i].val < 0 || static_cast<uint32_t>(values[i].val) > kMaxOffset)
        return Error{Errc::invalid, "too large"};
      return static_cast<uint32_t>(values[i].val);
    }
    return Error{Errc::not_found, "no such enumerator"};
  });
}

}  // namespace oboro::guest
