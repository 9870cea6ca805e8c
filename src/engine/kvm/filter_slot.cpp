#include "engine/kvm/filter_slot.h"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <sys/mman.h>

#include "arch/code.h"

namespace oboro::engine::kvm {
namespace {

constexpr uint32_t kIdMask = (1U << FilterSlot::kProcessBits) - 1;
constexpr uint64_t kMix = 0x9e3779b97f4a7c15;
constexpr size_t kNameSize = 32;
constexpr size_t kAlignment = 32;  // of stubs

uint64_t name_index(uint64_t dentry) { return dentry * kMix >> (64 - FilterSlot::kNameBits); }

// The guest reads, word by word, what this writes.
void store(std::byte* at, uint64_t value) {
  std::atomic_ref(*reinterpret_cast<uint64_t*>(at)).store(value, std::memory_order_release);
}

}  // namespace

Result<std::unique_ptr<FilterSlot>> FilterSlot::create() {
  // Mapped twice as large, so that it can be aligned: KVM can then use large pages for it.
  void* memory = mmap(nullptr, 2 * kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return Error{Errc::io, fmt::format("memory for the filter: {}", strerror(errno))};
  const auto address = reinterpret_cast<uint64_t>(memory);
  const uint64_t aligned = (address + kSize - 1) & ~(uint64_t{kSize} - 1);
  if (aligned > address) munmap(memory, aligned - address);
  if (const uint64_t end = address + 2 * kSize; end > aligned + kSize)
    munmap(reinterpret_cast<void*>(aligned + kSize), end - (aligned + kSize));
  // Its pages are present from the start. A page that came only with the first write would have to be taken from the
  // guest and given again.
  std::memset(reinterpret_cast<void*>(aligned), 0, kSize);
  return std::unique_ptr<FilterSlot>(new FilterSlot(reinterpret_cast<std::byte*>(aligned)));
}

FilterSlot::FilterSlot(std::byte* memory) : memory_(memory), counts_(size_t{1} << kObjectBits) {
  set_sender_mask(kIdMask);
}

FilterSlot::~FilterSlot() { munmap(memory_, kSize); }

void FilterSlot::set_base(Gva base) {
  base_ = base;
  used_ = 0;
}

std::optional<FilterSlot::Stub> FilterSlot::place(const FilterProgram& program, const FilterLayout& layout,
                                                  uint8_t port, Gva back) {
  using A = arch::Assembler;
  using Op = FilterStep::Op;
  constexpr A::Register a = A::kFree[0], b = A::kFree[1], scratch = A::kFree[2];
  A code;
  const A::Label stop = code.label(), pass = code.label();
  std::vector<A::Label> labels;
  for (size_t i = 0; i <= program.size(); ++i) labels.push_back(code.label());
  const Gva entry = base_ + used_;
  const uint64_t processes = base_.value + kProcesses, objects = base_.value + kObjects, names = base_.value + kNames;
  const auto name_offset = [&] {  // scratch = offset of the entry for the dentry in A
    code.mov_immediate(scratch, kMix);
    code.multiply(scratch, a);
    code.shift_right(scratch, 64 - kNameBits);
    code.shift_left(scratch, 5);
  };
  const auto name_word = [&](size_t offset) { return static_cast<uint32_t>(names + offset); };

  for (size_t i = 0; i < program.size(); ++i) {
    const FilterStep& step = program[i];
    const auto offset = static_cast<uint32_t>(step.value);
    if (step.jumps() && (step.target > program.size() || step.target <= i)) return std::nullopt;
    const A::Label target = labels[step.target];
    code.bind(labels[i]);
    switch (step.op) {
      case Op::current:
        if (!A::is_short(step.value)) return std::nullopt;
        code.load_per_cpu(a, step.value);
        break;
      case Op::argument:
        if (step.value >= std::size(A::kArguments)) return std::nullopt;
        code.mov(a, A::kArguments[step.value]);
        break;
      case Op::load64:
        code.load64(a, a, offset);
        break;
      case Op::load32:
        code.load32(a, a, offset);
        break;
      case Op::load16:
        code.load16(a, a, offset);
        break;
      case Op::bits:
        if (!A::is_short(step.value)) return std::nullopt;
        code.and_immediate(a, offset);
        break;
      case Op::shift_left:
        code.shift_left(a, static_cast<uint8_t>(step.value & 63));
        break;
      case Op::keep:
        code.mov(b, a);
        break;
      case Op::recall:
        code.mov(a, b);
        break;
      case Op::jump_if_zero:
        code.test(a);
        code.jump(A::equal, target);
        break;
      case Op::jump_if_equal:
        if (!A::is_short(step.value)) return std::nullopt;
        code.compare_immediate(a, offset);
        code.jump(A::equal, target);
        break;
      case Op::jump_if_process:
      case Op::jump_unless_process:
        if (step.value == FilterStep::kOrSender)
          code.and_absolute(a, base_.value + kSenderMask);
        else
          code.and_immediate(a, kIdMask);
        code.bit_test_absolute(processes, a);
        code.jump(step.op == Op::jump_if_process ? A::bit_set : A::bit_clear, target);
        break;
      case Op::jump_if_object: {
        const A::Label no = code.label();
        code.mov_immediate(scratch, kMix);
        code.multiply(scratch, a);
        code.mov(a, scratch);
        code.shift_right(a, 64 - kObjectBits);
        code.bit_test_absolute(objects, a);
        code.jump(A::bit_clear, no);
        code.mov(a, scratch);
        code.shift_right(a, 64 - 2 * kObjectBits);
        code.and_immediate(a, (1U << kObjectBits) - 1);
        code.bit_test_absolute(objects, a);
        code.jump(A::bit_set, target);
        code.bind(no);
        break;
      }
      case Op::load16_beside:
        code.load16(scratch, b, offset);
        code.shift_left(scratch, 16);
        code.or_(a, scratch);
        break;
      case Op::connection_key:
        code.mov(scratch, a);
        code.shift_right(scratch, 16);
        code.and_immediate(a, 0xffff);
        code.mov(b, a);
        code.add(b, scratch);
        code.shift_left(b, 16);
        code.xor_(a, scratch);
        code.or_(a, b);
        break;
      case Op::note:
        if (!A::is_short(layout.current)) return std::nullopt;
        code.lea(b, a, offset);
        code.load_per_cpu(a, layout.current);
        code.load64(a, a, layout.task_stack);
        // The exchange is a barrier: either this task sees the mark that it asks for next, or the thread that sets the
        // mark sees this note.
        code.exchange(b, a, kNoteOffset);
        break;
      case Op::jump_unless_known_name:
        if (!A::is_short(layout.rename_sequence) || !A::is_short(layout.mount_sequence)) return std::nullopt;
        code.load64(a, A::kArguments[0], layout.file_dentry);
        name_offset();
        code.compare64(scratch, name_word(0), a);
        code.jump(A::not_equal, target);
        code.load64(b, A::kArguments[0], layout.file_inode);
        code.compare64(scratch, name_word(8), b);
        code.jump(A::not_equal, target);
        code.load64(b, A::kArguments[0], layout.file_mount);
        code.compare64(scratch, name_word(16), b);
        code.jump(A::not_equal, target);
        code.load32_absolute(b, layout.rename_sequence);
        code.compare32(scratch, name_word(24), b);
        code.jump(A::not_equal, target);
        code.load32_absolute(b, layout.mount_sequence);
        code.compare32(scratch, name_word(28), b);
        code.jump(A::not_equal, target);
        // The entry may have been replaced meanwhile. Then its first word is another one.
        code.compare64(scratch, name_word(0), a);
        code.jump(A::not_equal, target);
        break;
      case Op::jump_if_known_dentry:
        code.mov(a, A::kArguments[0]);
        name_offset();
        code.compare64(scratch, name_word(0), a);
        code.jump(A::equal, target);
        break;
      case Op::stop:
        code.jump(stop);
        break;
      case Op::pass:
        code.jump(pass);
        break;
    }
  }
  code.bind(labels[program.size()]);
  code.bind(stop);  // a program that comes to its end undecided is of interest: it stops
  const size_t trap = code.size();
  code.trap(port);
  code.bind(pass);
  code.jump_to(back.value, entry.value);
  code.link();

  if (used_ + code.size() > kSenderMask) return std::nullopt;
  std::memcpy(memory_ + used_, code.code().data(), code.size());
  used_ = (used_ + code.size() + kAlignment - 1) & ~(kAlignment - 1);
  return Stub{entry, entry + trap};
}

void FilterSlot::set_bit(size_t table, uint64_t bit, bool value) {
  auto* byte = reinterpret_cast<uint8_t*>(memory_ + table + bit / 8);
  const auto mask = static_cast<uint8_t>(1U << (bit % 8));
  if (value)
    std::atomic_ref(*byte).fetch_or(mask);
  else
    std::atomic_ref(*byte).fetch_and(static_cast<uint8_t>(~mask));
}

void FilterSlot::add_process(uint32_t tgid) { set_bit(kProcesses, tgid & kIdMask, true); }
void FilterSlot::remove_process(uint32_t tgid) {
  // The guest's memory says the ID. No ID may take away the bit that all senders look up.
  if (senders_ && (tgid & kIdMask) == 0) return;
  set_bit(kProcesses, tgid & kIdMask, false);
}

void FilterSlot::set_sender_mask(uint32_t mask) {
  std::atomic_ref(*reinterpret_cast<uint32_t*>(memory_ + kSenderMask)).store(mask);
}

void FilterSlot::add_senders() {
  senders_ = true;
  set_bit(kProcesses, 0, true);
  set_sender_mask(0);
}

// The bit stays: a process may have it by its ID.
void FilterSlot::remove_senders() {
  senders_ = false;
  set_sender_mask(kIdMask);
}

void FilterSlot::object_bits(uint64_t key, uint64_t (&bits)[2]) const {
  const uint64_t hash = key * kMix;
  bits[0] = hash >> (64 - kObjectBits);
  bits[1] = hash >> (64 - 2 * kObjectBits) & ((uint64_t{1} << kObjectBits) - 1);
}

void FilterSlot::add_object(uint64_t key) {
  uint64_t bits[2];
  object_bits(key, bits);
  for (const uint64_t bit : bits) {
    if (counts_[bit] < UINT8_MAX) ++counts_[bit];
    set_bit(kObjects, bit, true);
  }
}

void FilterSlot::remove_object(uint64_t key) {
  uint64_t bits[2];
  object_bits(key, bits);
  for (const uint64_t bit : bits) {
    if (counts_[bit] == 0 || counts_[bit] == UINT8_MAX) continue;
    if (--counts_[bit] == 0) set_bit(kObjects, bit, false);
  }
}

void FilterSlot::add_name(const KnownName& name) {
  std::byte* entry = memory_ + kNames + name_index(name.dentry) * kNameSize;
  store(entry, 0);  // nobody finds half an entry
  store(entry + 8, name.inode);
  store(entry + 16, name.mount);
  store(entry + 24, uint64_t{name.mount_sequence} << 32 | name.rename_sequence);
  store(entry, name.dentry);
}

void FilterSlot::remove_name(uint64_t dentry) {
  std::byte* entry = memory_ + kNames + name_index(dentry) * kNameSize;
  uint64_t known;
  std::memcpy(&known, entry, sizeof known);
  if (known == dentry) store(entry, 0);
}

void FilterSlot::clear() {
  senders_ = false;
  set_sender_mask(kIdMask);
  std::memset(memory_ + kProcesses, 0, kSize - kProcesses);
  std::fill(counts_.begin(), counts_.end(), 0);
}

}  // namespace oboro::engine::kvm
