#include "tests/support/engine/fake_filter.h"

#include <stdexcept>

namespace oboro::fake {

bool FakeFilter::run(const engine::FilterProgram& program, const engine::FilterLayout& layout,
                     const Guest& guest) const {
  using Op = engine::FilterStep::Op;
  uint64_t a = 0, b = 0;
  for (size_t i = 0; i < program.size();) {
    const engine::FilterStep& step = program[i];
    if (step.jumps() && (step.target <= i || step.target > program.size()))
      throw std::logic_error("a step does not jump further down");
    bool jump = false;
    switch (step.op) {
      case Op::current:
        a = guest.word(Gva(guest.per_cpu + step.value));
        break;
      case Op::argument:
        a = guest.arguments.at(step.value);
        break;
      case Op::load64:
        a = guest.word(Gva(a + step.value));
        break;
      case Op::load32:
        a = static_cast<uint32_t>(guest.word(Gva(a + step.value)));
        break;
      case Op::load16:
        a = static_cast<uint16_t>(guest.word(Gva(a + step.value)));
        break;
      case Op::bits:
        a &= step.value;
        break;
      case Op::shift_left:
        a <<= step.value;
        break;
      case Op::keep:
        b = a;
        break;
      case Op::recall:
        a = b;
        break;
      case Op::jump_if_zero:
        jump = a == 0;
        break;
      case Op::jump_if_equal:
        jump = a == step.value;
        break;
      case Op::jump_if_process:
        jump = (senders_ && step.value) || processes_.contains(static_cast<uint32_t>(a));
        break;
      case Op::jump_unless_process:
        jump = !(senders_ && step.value) && !processes_.contains(static_cast<uint32_t>(a));
        break;
      case Op::jump_if_object:
        jump = objects_.contains(a);
        a = 0;
        break;
      case Op::load16_beside:
        a |= uint64_t{static_cast<uint16_t>(guest.word(Gva(b + step.value)))} << 16;
        break;
      case Op::connection_key:
        a = engine::connection_key(static_cast<uint16_t>(a), static_cast<uint16_t>(a >> 16));
        b = 0;
        break;
      case Op::note: {
        const Gva stack(guest.word(Gva(guest.word(Gva(guest.per_cpu + layout.current)) + layout.task_stack)));
        guest.set_word(stack + engine::kNoteOffset, a + step.value);
        a = b = 0;
        break;
      }
      case Op::jump_unless_known_name: {
        const Gva file(guest.arguments[0]);
        const auto found = names_.find(guest.word(file + layout.file_dentry));
        jump = found == names_.end() || found->second.inode != guest.word(file + layout.file_inode) ||
               found->second.mount != guest.word(file + layout.file_mount) ||
               found->second.rename_sequence != static_cast<uint32_t>(guest.word(Gva(layout.rename_sequence))) ||
               found->second.mount_sequence != static_cast<uint32_t>(guest.word(Gva(layout.mount_sequence)));
        break;
      }
      case Op::jump_if_known_dentry:
        jump = names_.contains(guest.arguments[0]);
        break;
      case Op::stop:
        return true;
      case Op::pass:
        return false;
    }
    i = jump ? step.target : i + 1;
  }
  return true;
}

}  // namespace oboro::fake
