#include "hooks/filter.h"

#include <cstring>
#include <initializer_list>
#include <map>
#include <utility>

#include "guest/file.h"
#include "guest/socket.h"

namespace oboro::hooks {
namespace {

using engine::FilterLayout;
using engine::FilterProgram;
using engine::FilterStep;
using guest::Field;
using guest::Symbol;
using labels::Carrier;
using labels::CarrierKind;
using Op = FilterStep::Op;

constexpr uint64_t kTypeMask = 0170000, kRegular = 0100000, kBlock = 0060000, kFifo = 0010000, kCharacter = 0020000,
                   kSocket = 0140000;  // include/uapi/linux/stat.h
constexpr uint64_t kLocalFamily = 1;   // AF_UNIX
constexpr uint64_t kDatagram = 2;      // SOCK_DGRAM

// Builds a program whose jumps go to stop, to pass, or to named points further down.
class Builder {
 public:
  Builder(const guest::Kernel& kernel, const FilterLayout& layout) : kernel_(kernel), layout_(layout) {}

  size_t step(Op op, uint64_t value = 0) {
    program_.push_back({op, value, 0});
    return program_.size() - 1;
  }
  void stop_if(Op op, uint64_t value = 0) { to_stop_.push_back(step(op, value)); }
  void pass_if(Op op, uint64_t value = 0) { to_pass_.push_back(step(op, value)); }
  void here(size_t jump) { program_[jump].target = static_cast<uint16_t>(program_.size()); }
  void argument(unsigned number) { step(Op::argument, number); }
  void load64(Field field) { step(Op::load64, offset(field)); }
  void load32(Field field) { step(Op::load32, offset(field)); }
  void load16(Field field) { step(Op::load16, offset(field)); }

  void stop_if_managed(uint64_t or_sender = 0) {
    step(Op::current, layout_.current);
    load32(Field::task_tgid);
    stop_if(Op::jump_if_process, or_sender);
  }
  // A: struct sock. Stops if it bears labels, or if a connection with its ports does.
  void stop_if_socket() {
    step(Op::keep);
    stop_if(Op::jump_if_object);
    step(Op::recall);
    stop_if_connection();
  }
  // Does not use skc_num, which is zero once the connection is closed.
  void stop_if_connection() {
    step(Op::keep);
    load16(Field::sock_dport);
    pass_if(Op::jump_if_zero);  // not connected
    step(Op::load16_beside, offset(Field::inet_sock_sport));
    step(Op::connection_key);
    stop_if(Op::jump_if_object);
  }
  // Argument 0: struct file. Stops if a read would bring labels.
  void stop_if_readable(bool sockets) {
    argument(0);
    pass_if(Op::jump_if_zero);
    load64(Field::file_inode);
    step(Op::keep);
    load16(Field::inode_mode);
    step(Op::bits, kTypeMask);
    const size_t regular = step(Op::jump_if_equal, kRegular), block = step(Op::jump_if_equal, kBlock);
    const size_t fifo = step(Op::jump_if_equal, kFifo), character = step(Op::jump_if_equal, kCharacter);
    const size_t socket = step(Op::jump_if_equal, kSocket);
    note_file();  // of no interest; but it replaces the note of what the task asked for before
    step(Op::pass);

    here(regular), here(block);
    step(Op::recall);
    stop_if(Op::jump_if_object);
    step(Op::pass);

    here(fifo);
    note_file();
    argument(0);
    load64(Field::file_inode);
    load64(Field::inode_pipe);
    stop_if(Op::jump_if_object);
    step(Op::pass);

    here(character);
    terminal();

    here(socket);
    if (!sockets) return;
    note_file();
    argument(0);
    load64(Field::file_private_data);
    pass_if(Op::jump_if_zero);
    load64(Field::socket_sk);
    pass_if(Op::jump_if_zero);
    stop_if_socket();
    step(Op::pass);
  }
  // Argument 0: struct linux_binprm. Stops if the program has one of these names (the last part of a path). A few other
  // names look the same to it.
  void stop_if_named(std::span<const std::string> names) {
    constexpr size_t kBegin = 4;  // bytes of a name that are compared; numbers are of 31 bits and a sign
    argument(0);
    load64(Field::binprm_file);
    stop_if(Op::jump_if_zero);
    load64(Field::file_path_dentry);
    step(Op::keep);
    load32(Field::dentry_name_len);
    std::map<size_t, size_t> jumps;  // by length
    for (const std::string& name : names)
      if (!jumps.count(name.size())) jumps[name.size()] = step(Op::jump_if_equal, name.size());
    step(Op::pass);
    for (const auto& [size, jump] : jumps) {
      here(jump);
      step(Op::recall);
      load64(Field::dentry_name);
      step(Op::load32, 0);
      for (const std::string& name : names) {
        if (name.size() != size) continue;
        uint32_t begin = 0;
        if (size >= kBegin) std::memcpy(&begin, name.data(), kBegin);
        const bool comparable = size >= kBegin && begin <= INT32_MAX;
        stop_if(comparable ? Op::jump_if_equal : Op::stop, comparable ? begin : 0);
      }
      step(Op::pass);
    }
  }
  std::optional<FilterProgram> finish() {
    if (gave_up_) return std::nullopt;
    step(Op::pass);
    const auto pass = static_cast<uint16_t>(program_.size() - 1);
    step(Op::stop);
    for (const size_t jump : to_pass_) program_[jump].target = pass;
    for (const size_t jump : to_stop_) program_[jump].target = static_cast<uint16_t>(pass + 1);
    return std::move(program_);
  }
  void give_up() { gave_up_ = true; }

 private:
  void note_file() {
    argument(0);
    step(Op::note);
  }
  void terminal() {
    const guest::Profile& profile = kernel_.profile();
    if (!profile.has(Field::tty_file_private_tty)) return give_up();
    argument(0);
    load64(Field::file_op);
    std::vector<size_t> found;
    for (const Symbol table : {Symbol::tty_fops, Symbol::ptmx_fops, Symbol::console_fops})
      if (profile.has(table)) found.push_back(step(Op::jump_if_equal, kernel_.symbol(table).value));
    step(Op::pass);
    for (const size_t jump : found) here(jump);
    note_file();
    argument(0);
    load64(Field::file_private_data);
    pass_if(Op::jump_if_zero);
    load64(Field::tty_file_private_tty);
    stop_if(Op::jump_if_object);
    step(Op::pass);
  }
  uint32_t p(Field field) const { return kernel_.profile()[field]; }
  uint64_t offset(Field field) {
    if (p(field) == guest::Profile::kMissing) give_up();
    return p(field);
  }

  const guest::Kernel& kernel_;
  const FilterLayout& layout_;
  FilterProgram program_;
  std::vector<size_t> to_stop_, to_pass_;
  bool gave_up_ = false;
};

// The key by which the filter knows a carrier; 0 if the filter does not know carriers of this kind.
uint64_t object_key(Carrier carrier) {
  // The high byte of a kernel address is ones.
  const uint64_t address = carrier.value() | uint64_t{0xff} << 56;
  switch (carrier.kind()) {
    case CarrierKind::inode:
    case CarrierKind::pipe:
    case CarrierKind::socket:
    case CarrierKind::terminal:
    case CarrierKind::queue:
      return address;
    case CarrierKind::flow:
      return engine::connection_key(__builtin_bswap16(static_cast<uint16_t>(carrier.value() >> 16)),
                                    __builtin_bswap16(static_cast<uint16_t>(carrier.value())));
    case CarrierKind::process:
    case CarrierKind::file:
    case CarrierKind::none:
      break;
  }
  return 0;
}

}  // namespace

std::optional<FilterLayout> filter_layout(const guest::Kernel& kernel, uint64_t current_offset) {
  const guest::Profile& p = kernel.profile();
  if (!p.has(Symbol::rename_lock) || !p.has(Symbol::mount_lock)) return std::nullopt;
  FilterLayout layout;
  layout.current = current_offset;
  layout.task_stack = p[Field::task_stack];
  layout.file_dentry = p[Field::file_path_dentry];
  layout.file_mount = p[Field::file_path_mnt];
  layout.file_inode = p[Field::file_inode];
  layout.rename_sequence = kernel.symbol(Symbol::rename_lock).value;
  layout.mount_sequence = kernel.symbol(Symbol::mount_lock).value;
  return layout;
}

std::optional<FilterProgram> filter_program(Interest interest, const guest::Kernel& kernel, const FilterLayout& layout,
                                            std::span<const std::string> executables) {
  Builder b(kernel, layout);
  switch (interest) {
    case Interest::every_call:
      return FilterProgram{{Op::stop, 0, 0}};
    case Interest::managed:
      b.stop_if_managed();
      break;
    case Interest::sending:
    case Interest::sending_or_refused:
      b.step(Op::current, layout.current);
      b.load32(Field::task_tgid);
      b.pass_if(Op::jump_unless_process, interest == Interest::sending_or_refused ? FilterStep::kOrSender : 0);
      b.argument(0);
      b.load64(Field::socket_sk);
      b.pass_if(Op::jump_if_zero);
      b.step(Op::keep);
      b.load16(Field::sock_family);
      {
        const size_t local = b.step(Op::jump_if_equal, kLocalFamily);
        b.stop_if(Op::stop);
        b.here(local);
      }
      b.step(Op::recall);
      b.load16(Field::sock_type);
      b.pass_if(Op::jump_if_equal, kDatagram);
      b.step(Op::stop);
      break;
    case Interest::opened_name:
      b.stop_if_managed();
      b.stop_if(Op::jump_unless_known_name);
      break;
    case Interest::known_dentry:
      b.stop_if(Op::jump_if_known_dentry);
      break;
    case Interest::access:
      b.stop_if_managed();
      b.argument(1);
      b.step(Op::bits, guest::kMayRead);
      b.pass_if(Op::jump_if_zero);
      b.stop_if_readable(false);
      break;
    case Interest::readable:
    case Interest::readable_or_refused:
      b.stop_if_managed(interest == Interest::readable_or_refused ? FilterStep::kOrSender : 0);
      b.stop_if_readable(true);
      break;
    case Interest::mapped:
      b.stop_if_managed();
      b.argument(0);
      b.pass_if(Op::jump_if_zero);
      b.load64(Field::file_inode);
      b.stop_if(Op::jump_if_object);
      break;
    case Interest::descriptor:
    case Interest::descriptor_in_registers:
      b.argument(0);
      if (interest == Interest::descriptor_in_registers) b.load32(Field::user_registers_argument);
      b.step(Op::bits, 0x7fffffff);
      b.step(Op::shift_left, 3);
      b.step(Op::note, kNoteIsDescriptor);
      b.step(Op::stop);
      break;
    case Interest::receiving:
      b.stop_if_managed();
      b.argument(0);
      b.step(Op::note, kNoteIsSocket);
      b.argument(0);
      b.load64(Field::socket_sk);
      b.pass_if(Op::jump_if_zero);
      b.stop_if_socket();
      break;
    case Interest::socket:
      b.argument(0);
      b.load64(Field::socket_sk);
      b.pass_if(Op::jump_if_zero);
      b.stop_if_socket();
      break;
    case Interest::connection:
      b.argument(0);
      b.stop_if_connection();
      break;
    case Interest::object:
      b.argument(0);
      b.stop_if(Op::jump_if_object);
      break;
    case Interest::managed_or_task:
      b.stop_if_managed();
      [[fallthrough]];
    case Interest::task:
      b.argument(0);
      b.load32(Field::task_tgid);
      b.stop_if(Op::jump_if_process);
      break;
    case Interest::managed_or_owner:
      b.stop_if_managed();
      b.argument(0);
      b.load64(Field::mm_owner);
      b.pass_if(Op::jump_if_zero);
      b.load32(Field::task_tgid);
      b.stop_if(Op::jump_if_process);
      break;
    case Interest::executed:
      if (executables.empty()) return FilterProgram{{Op::stop, 0, 0}};
      b.stop_if_managed();
      b.stop_if_named(executables);
      break;
  }
  return b.finish();
}

void FilterMarks::add(Carrier carrier) {
  if (carrier.kind() == CarrierKind::process)
    filter_.add_process(static_cast<uint32_t>(carrier.value()));
  else if (const uint64_t key = object_key(carrier))
    filter_.add_object(key);
}

void FilterMarks::remove(Carrier carrier) {
  if (carrier.kind() == CarrierKind::process) {
    const auto tgid = static_cast<uint32_t>(carrier.value());
    if (!kept_.count(tgid)) filter_.remove_process(tgid);
  } else if (const uint64_t key = object_key(carrier)) {
    filter_.remove_object(key);
  }
}

void FilterMarks::add_senders() { filter_.add_senders(); }
void FilterMarks::remove_senders() { filter_.remove_senders(); }

void FilterMarks::clear() {
  filter_.clear();
  for (const uint32_t tgid : kept_) filter_.add_process(tgid);
}

void FilterMarks::keep(uint32_t tgid) {
  kept_.insert(tgid);
  filter_.add_process(tgid);
}

void FilterMarks::let_go(uint32_t tgid, bool managed) {
  kept_.erase(tgid);
  if (!managed) filter_.remove_process(tgid);
}

}  // namespace oboro::hooks
