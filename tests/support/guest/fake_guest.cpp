#include "tests/support/guest/fake_guest.h"

#include <cstring>
#include <stdexcept>

namespace oboro::fake {
namespace {

constexpr Gpa kTables{0x100000};
constexpr uint64_t kTablesSize = 0x200000;
constexpr uint64_t kHeap = kImageStart.value + kImageSize;
constexpr uint64_t kLarge = 2 << 20;
constexpr uint32_t kUdpSlots = 16;

}  // namespace

FakeGuest::FakeGuest(size_t memory_size) : profile(make_profile()), memory(memory_size), next_page_(kHeap) {
  layout.image_base = kImageBase;
  layout.image_start = kImageStart;
  layout.image_size = kImageSize;
  memory.use_tables(physical(symbol(Symbol::init_top_pgt)), kTables, kTablesSize);
  layout.tables.root = memory.root();
  for (uint64_t offset = 0; offset < kImageSize; offset += kLarge)
    memory.map_large(kImageBase + offset, kImageStart + offset);
  // A build-ID note (namesz, descsz, type, "GNU"), and the beginning of a BTF header.
  constexpr uint32_t kNote[] = {4, 8, 3, 0x00554e47, 0x11111111, 0x22222222, 0x0001eb9f, 24};
  write(kImageBase + 0x100, kNote, sizeof kNote);

  write(symbol(Symbol::page_offset_base), kDirectMap);
  append(symbol(Symbol::init_task) + profile[Field::task_tasks], Gva());
  per_cpu_ = allocate(2 * kPageSize);

  mount_ns_ = allocate();
  set(symbol(Symbol::init_nsproxy), Field::nsproxy_mnt_ns, mount_ns_);
  net_ = allocate();
  set(symbol(Symbol::init_nsproxy), Field::nsproxy_net_ns, net_);
  append(net_ + profile[Field::net_dev_base_head], Gva());
  append(symbol(Symbol::net_namespace_list), Gva());
  append(symbol(Symbol::net_namespace_list), net_ + profile[Field::net_list]);
  set(net_, Field::net_hash_mix, uint32_t{0x1234567});
  udp_slots_ = allocate();
  write(symbol(Symbol::udp_table), Gva());
  set(symbol(Symbol::udp_table), Field::udp_table_hash, udp_slots_);
  set(symbol(Symbol::udp_table), Field::udp_table_mask, kUdpSlots - 1);
}

const guest::Kernel& FakeGuest::kernel() {
  if (!kernel_) kernel_ = std::make_unique<guest::Kernel>(memory.ram(), profile, layout);
  return *kernel_;
}

Gpa FakeGuest::physical(Gva at) const {
  if (at.value - kDirectMap.value < memory.ram().end()) return Gpa(at.value - kDirectMap.value);
  if (at.value - kImageBase.value < kImageSize) return kImageStart + (at.value - kImageBase.value);
  throw std::out_of_range("an address that the fake guest did not hand out");
}

Gva FakeGuest::allocate(uint64_t size) {
  const uint64_t pages = (size + kPageSize - 1) / kPageSize;
  const uint64_t at = next_page_;
  next_page_ += pages * kPageSize;
  if (next_page_ > memory.bytes().size()) throw std::length_error("the fake guest has no memory left");
  return kDirectMap + at;
}

Gva FakeGuest::vmalloc(uint64_t size) {
  const Gva at = next_vmalloc_;
  const uint64_t end = (size + kPageSize - 1) & ~(kPageSize - 1);
  const Gpa pages = physical(allocate(end));
  for (uint64_t offset = 0; offset < end; offset += kPageSize)
    memory.map(at + offset, pages + (end - kPageSize - offset));
  next_vmalloc_ = at + end + kPageSize;  // a guard page
  return at;
}

std::span<std::byte> FakeGuest::map_user(Gva at, uint64_t size) {
  const Gpa pages = physical(allocate(size));
  for (uint64_t offset = 0; offset < size; offset += kPageSize) memory.map(at + offset, pages + offset);
  return memory.bytes().subspan(pages.value, size);
}

Gva FakeGuest::symbol(Symbol symbol) const {
  const guest::SymbolValue& value = profile[symbol];
  return value.kind == guest::SymbolValue::Kind::relative ? kImageBase + value.value : Gva(value.value);
}

void FakeGuest::write(Gva at, const void* bytes, size_t size) {
  std::memcpy(memory.bytes().data() + physical(at).value, bytes, size);
}

uint64_t FakeGuest::word(Gva at) {
  uint64_t value;
  std::memcpy(&value, memory.bytes().data() + physical(at).value, sizeof value);
  return value;
}

Gva FakeGuest::string(std::string_view text) {
  const Gva at = allocate(text.size() + 1);
  write(at, text.data(), text.size());
  return at;
}

// struct list_head: next, prev. A null link makes an empty list of head.
void FakeGuest::append(Gva head, Gva link) {
  if (!link) {
    write(head, head);
    write(head + 8, head);
    return;
  }
  const Gva last(word(head + 8));
  write(last, link);
  write(link, head);
  write(link + 8, last);
  write(head + 8, link);
}

}  // namespace oboro::fake
