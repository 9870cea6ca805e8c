#include "tests/support/guest/fake_profile.h"

#include <map>
#include <utility>

#include "guest/profile/schema.h"

namespace oboro::fake {

using guest::Field;
using guest::Symbol;

namespace {

constexpr uint32_t kFirstOffset = 0x18;      // no member lies where its structure begins
constexpr uint32_t kStride = 0x40;           // room for what is embedded: list heads, tree nodes, UUIDs, names
constexpr uint64_t kSymbolStride = 0x10000;  // room for init_task; keeps init_top_pgt page aligned

// Members of inet_sock and unix_sock lie in the same object as those of sock.
std::string_view family_of(std::string_view structure) {
  return structure == "inet_sock" || structure == "unix_sock" ? "sock" : structure;
}

// Offsets that the code under test relies on, or that must fit what is embedded elsewhere.
constexpr std::pair<Field, uint32_t> kFixed[] = {
    {Field::pt_regs_di, 112},       {Field::pt_regs_orig_ax, 120},  {Field::pt_regs_size, 168},
    {Field::rb_node_right, 8},      {Field::rb_node_left, 16},      {Field::rb_root_node, 8},
    {Field::maple_range_pivot, 8},  {Field::maple_range_slot, 128}, {Field::maple_arange_pivot, 8},
    {Field::maple_arange_slot, 80}, {Field::udp_hslot_head, 8},     {Field::udp_hslot_size, 32},
    {Field::mount_mnt, 0x20},       {Field::page_size, 64},
};

}  // namespace

guest::Profile make_profile() {
  guest::Profile profile;
  profile.build_id = "0b0b0b0b0b0b0b0b";
  profile.release = "6.1.0-fake";
  std::map<std::string_view, uint32_t> next;
  for (size_t i = 0; i < guest::kFieldCount; ++i) {
    const std::string_view path = guest::kFieldSchema[i].alternatives[0];
    uint32_t& offset = next.try_emplace(family_of(path.substr(0, path.find('.'))), kFirstOffset).first->second;
    profile.fields[i] = offset;
    offset += kStride;
  }
  for (const auto& [field, offset] : kFixed) set_offset(profile, field, offset);
  for (const Field field : {Field::pcpu_hot_current_task, Field::pcpu_hot_top_of_stack, Field::mount_next_for_sb,
                            Field::net_udp_table, Field::udp_table_log, Field::dentry_subdirs, Field::dentry_child})
    set_missing(profile, field);
  for (size_t i = 0; i < guest::kSymbolCount; ++i)
    profile.symbols[i] = {guest::SymbolValue::Kind::relative, (i + 1) * kSymbolStride};
  static_assert((guest::kSymbolCount + 1) * kSymbolStride <= kImageSize);
  set_missing(profile, Symbol::pcpu_hot);
  set_per_cpu(profile, Symbol::current_task, kCurrentTask);
  set_per_cpu(profile, Symbol::cpu_current_top_of_stack, kTopOfStack);
  return profile;
}

}  // namespace oboro::fake
