// Files, pipes and terminals: open, read, write, map, name, end.

#include "guest/address_space.h"
#include "hooks/table.h"
#include "labels/carrier.h"

namespace oboro::hooks {

using guest::Field;
using guest::FileType;
using labels::Carrier;
using labels::CarrierKind;

namespace {

// include/uapi/linux/mman.h
constexpr uint64_t kProtWrite = 0x2, kMapTypeMask = 0xf, kMapShared = 0x1, kMapSharedValidate = 0x3;

Carrier inode_carrier(guest::Inode inode) { return {CarrierKind::inode, inode.at.value}; }

Node pipe_node(Operation& op, guest::File file, guest::Inode inode) {
  const bool is_fifo = !inode.super_block(op.r).is_pipefs(op.r);
  return hooks::pipe_node(op.r.pointer(inode.at, Field::inode_pipe), inode,
                          is_fifo ? file.dentry(op.r) : guest::Dentry());
}

// The terminal behind an open character device; null if the device is no terminal.
Gva terminal_of(Operation& op, guest::File file) {
  const guest::Profile& p = op.r.profile();
  const Gva operations = op.r.pointer(file.at, Field::file_op);
  const auto is = [&](guest::Symbol table) { return p.has(table) && operations == op.env.kernel.symbol(table); };
  const bool terminal = is(guest::Symbol::tty_fops) || is(guest::Symbol::ptmx_fops) || is(guest::Symbol::console_fops);
  if (!terminal || !p.has(Field::tty_file_private_tty)) return Gva();
  const Gva data = op.r.pointer(file.at, Field::file_private_data);
  return data ? op.r.pointer(data, Field::tty_file_private_tty) : Gva();
}

// A directory that was classified when it was renamed (classify_before_renaming) gives its labels to files that are
// opened below it.
void inherit_from_directories(Operation& op, guest::Dentry name, guest::Inode inode) {
  if (!op.env.carriers.any_file()) return;
  guest::Dentry dentry = name.parent(op.r);
  for (size_t depth = 0; depth < 64 && dentry.at; ++depth) {
    const Carrier directory = op.identity_of(dentry.inode(op.r));
    const uint64_t labels = directory ? op.env.carriers.labels(directory) : 0;
    if (labels & ~op.env.carriers.labels(inode_carrier(inode)))
      op.classify(file_node(inode, name), labels, "in a classified directory that was renamed");
    const guest::Dentry parent = dentry.parent(op.r);
    if (parent.at == dentry.at) return;
    dentry = parent;
  }
}

// The name under which a file is known. Up to 6.6, overlayfs opens the real file under the path that the user sees:
// then the inode's own name is the true one.
guest::Dentry name_of(Operation& op, guest::File file, guest::Inode inode) {
  const guest::Dentry dentry = file.dentry(op.r);
  if (dentry.inode(op.r).at == inode.at) return dentry;
  const guest::Dentry own = inode.any_name(op.r);
  return own.at ? own : dentry;
}

// Labels from path patterns. Looks at every open, so it allocates nothing unless a pattern matches.
void classify_by_path(Operation& op, guest::File file, guest::Inode inode) {
  if (op.env.patterns.empty()) return;
  const guest::Dentry name = name_of(op, file, inode);
  guest::PathBuffer path;
  if (!path.assign_true_path(op.r, name)) return;
  inherit_from_directories(op, name, inode);
  uint64_t labels = op.env.patterns.match(path.view());
  if (!labels && path.assign_mounted_path(op.r, file)) labels = op.env.patterns.match(path.view());
  if (path.truncated()) op.env.reporter.incomplete("a path was too long to be matched in full");
  if (!labels || (labels & ~op.env.carriers.labels(inode_carrier(inode))) == 0) return;
  const labels::Pattern* pattern = op.env.patterns.first_match(path.view());
  op.classify(file_node(inode, name), labels, pattern ? pattern->text() : std::string());
}

// The kernel's counters of renames and of changes to mounts. A counter is odd while a change is under way.
struct Sequences {
  uint32_t renames, mounts;
};
Sequences sequences(Operation& op) {
  return {op.r.at<uint32_t>(op.env.kernel.symbol(guest::Symbol::rename_lock)),
          op.r.at<uint32_t>(op.env.kernel.symbol(guest::Symbol::mount_lock))};
}

void look_at_opened(Operation& op, guest::File file, guest::Inode inode);

}  // namespace

uint64_t labels_of_file(Operation& op, guest::Inode inode) {
  const uint64_t labels = op.env.carriers.labels(inode_carrier(inode));
  if (labels || !op.env.carriers.any_file()) return labels;
  const Carrier identity = op.identity_of(inode);
  const uint64_t known = identity ? op.env.carriers.labels(identity) : 0;
  if (!known) return 0;
  const auto lock = op.env.carriers.lock();
  if (!op.env.carriers.adopt(identity, inode_carrier(inode))) op.env.reporter.incomplete(labels::kTableFull);
  return known;
}

void on_file_open(Operation& op) {
  const guest::File file{op.pointer(0)};
  const guest::Inode inode = file.inode(op.r);
  if (!op.env.filter) return look_at_opened(op, file, inode);
  // Read before the look: a name that is found is remembered as of these counters.
  const Sequences now = sequences(op);
  look_at_opened(op, file, inode);
  if (!op.r.failed() && !(now.renames & 1) && !(now.mounts & 1))
    op.env.know_name({file.dentry(op.r).at.value, inode.at.value, op.r.pointer(file.at, Field::file_path_mnt).value,
                      now.renames, now.mounts});
}

void on_d_instantiate(Operation& op) {
  if (op.env.filter) op.env.forget_name(op.pointer(0).value);
}

namespace {

void look_at_opened(Operation& op, guest::File file, guest::Inode inode) {
  const FileType type = inode.type(op.r);
  if (type != FileType::regular && type != FileType::block) return;
  // A file known from before (another boot, or evicted from memory meanwhile) bears its labels again.
  labels_of_file(op, inode);
  classify_by_path(op, file, inode);
  // A core dump is written past the LSM, so its file takes the labels of the process when it is opened.
  if (op.labels() && op.task().is_dumping_core(op.r) && file.writable(op.r))
    op.give(file_node(inode, file.dentry(op.r)));
}

}  // namespace

void take_from_file(Operation& op, guest::File file) {
  const guest::Inode inode = file.inode(op.r);
  switch (inode.type(op.r)) {
    case FileType::regular:
    case FileType::block:
      if (op.env.carriers.labels(inode_carrier(inode))) op.take(file_node(inode, file.dentry(op.r)));
      return;
    case FileType::fifo: {
      const Gva pipe = op.r.pointer(inode.at, Field::inode_pipe);
      const Carrier carrier(CarrierKind::pipe, pipe.value);
      op.remember_receiver(carrier);
      if (op.env.carriers.labels(carrier)) op.take(pipe_node(op, file, inode));
      return;
    }
    case FileType::character: {
      const Gva tty = terminal_of(op, file);
      if (!tty) return;
      op.remember_receiver(Carrier(CarrierKind::terminal, tty.value));
      op.take(terminal_node(tty));
      return;
    }
    case FileType::socket:
      receive_from_socket(op, guest::sock_of(op.r, op.r.pointer(file.at, Field::file_private_data)));
      return;
    default:
      return;
  }
}

void give_to_file(Operation& op, guest::File file) {
  if (!op.sends_matter()) return;
  const guest::Inode inode = file.inode(op.r);
  switch (inode.type(op.r)) {
    case FileType::regular:
    case FileType::block:
      if (inode.super_block(op.r).holds_data(op.r)) op.give(file_node(inode, file.dentry(op.r)));
      return;
    case FileType::fifo:
      op.give(pipe_node(op, file, inode));
      return;
    case FileType::character: {
      const Gva tty = terminal_of(op, file);
      const Gva other =
          tty && op.r.profile().has(Field::tty_struct_link) ? op.r.pointer(tty, Field::tty_struct_link) : Gva();
      if (other) op.give(terminal_node(other));
      return;
    }
    case FileType::socket:
      send_on_socket(op, guest::sock_of(op.r, op.r.pointer(file.at, Field::file_private_data)), Gva());
      return;
    default:
      return;
  }
}

void on_file_permission(Operation& op) {
  const guest::File file{op.pointer(0)};
  const uint64_t mask = op.value(1);
  // read() and write() on a socket reach the socket hooks, which know more.
  const guest::Inode inode = file.inode(op.r);
  if (inode.type(op.r) == FileType::socket) return;
  if (op.env.opens_unseen) look_at_opened(op, file, inode);
  if (mask & guest::kMayRead) take_from_file(op, file);
  if (mask & guest::kMayWrite) give_to_file(op, file);
}

void on_mmap_file(Operation& op) {
  const guest::File file{op.pointer(0)};
  if (!file.at) return;  // anonymous memory
  const guest::Inode inode = file.inode(op.r);
  if (inode.type(op.r) != FileType::regular && inode.type(op.r) != FileType::block) return;
  if (op.env.carriers.labels(inode_carrier(inode))) op.take(file_node(inode, file.dentry(op.r)));
  const uint64_t type = op.value(2) & kMapTypeMask;
  if ((op.value(1) & kProtWrite) && (type == kMapShared || type == kMapSharedValidate)) give_to_file(op, file);
}

void on_file_mprotect(Operation& op) {
  const guest::Vma vma{op.pointer(0)};
  if (!(op.value(1) & kProtWrite) || !op.labels() || !(vma.flags(op.r) & guest::kVmShared)) return;
  const guest::File file = vma.file(op.r);
  if (file.at) give_to_file(op, file);
}

void on_inode_free(Operation& op) {
  const guest::Inode inode{op.pointer(0)};
  op.end(queue_node(inode.at));
  const Carrier carrier = inode_carrier(inode);
  const uint64_t labels = op.env.carriers.labels(carrier);
  if (!labels) return;
  // The inode's end in memory is the file's end only if the file has no name left, or if its file system keeps files
  // nowhere else.
  const bool gone = inode.links(op.r) == 0 || inode.super_block(op.r).is_volatile(op.r);
  if (gone) op.report(event::Kind::removed, file_node(inode, {}), labels);
  const auto lock = op.env.carriers.lock();
  op.env.carriers.erase(carrier);
  if (gone) op.env.carriers.erase(op.identity_of(inode));
}

void on_free_pipe_info(Operation& op) { op.end(pipe_node(op.pointer(0))); }

void on_do_splice(Operation& op) {
  take_from_file(op, guest::File{op.pointer(0)});
  give_to_file(op, guest::File{op.pointer(2)});
}

// sendfile() and splice() from a file into a pipe: the pipe passes no LSM function.
void on_splice_file_to_pipe(Operation& op) {
  take_from_file(op, guest::File{op.pointer(0)});
  op.give(pipe_node(op.pointer(1)));
}

void on_do_splice_direct(Operation& op) {
  take_from_file(op, guest::File{op.pointer(0)});
  give_to_file(op, guest::File{op.pointer(2)});
}

void on_do_tee(Operation& op) {
  take_from_file(op, guest::File{op.pointer(0)});
  give_to_file(op, guest::File{op.pointer(1)});
}

namespace {

// files_struct.fdt->fd[number]; null if it is not open.
guest::File file_of_descriptor(Operation& op, guest::Task task, uint64_t number) {
  const Gva files = op.r.pointer(task.at, Field::task_files);
  if (!files) return {};
  const Gva table = op.r.pointer(files, Field::files_struct_fdt);
  if (number >= op.r.get<uint32_t>(table, Field::fdtable_max_fds)) return {};
  return {Gva(op.r.at<uint64_t>(op.r.pointer(table, Field::fdtable_fd) + number * 8))};
}

}  // namespace

// The system call's wrapper. Its one argument points to the caller's registers.
void on_vmsplice(Operation& op) {
  const guest::File file =
      file_of_descriptor(op, op.task(), op.r.get<uint32_t>(op.pointer(0), Field::user_registers_argument));
  if (!file.at) return;
  if (file.writable(op.r))
    give_to_file(op, file);
  else
    take_from_file(op, file);
}

void on_mq_timedsend(Operation& op) {
  if (!op.labels()) return;
  const guest::File file = file_of_descriptor(op, op.task(), op.value(0) & 0xffffffff);
  if (file.at) op.give(queue_node(file.inode(op.r).at, file.dentry(op.r)));
}

void on_mq_timedreceive(Operation& op) {
  const guest::File file = file_of_descriptor(op, op.task(), op.value(0) & 0xffffffff);
  if (!file.at) return;
  const Node node = queue_node(file.inode(op.r).at, file.dentry(op.r));
  op.remember_receiver(node.carrier);
  op.take(node);
}

Carrier carrier_of_note(Operation& op, guest::Task task, uint64_t note) {
  guest::Reader& r = op.r;
  const bool failed_before = r.failed();
  Carrier carrier;
  const Gva object(note & ~uint64_t{7});
  if (note & kNoteIsSocket) {
    carrier = receiving_carrier(op, guest::sock_of(r, object));
  } else {
    const guest::File file = note & kNoteIsDescriptor ? file_of_descriptor(op, task, note >> 3) : guest::File{object};
    const guest::Inode inode = file.inode(r);
    switch (inode.type(r)) {
      case FileType::fifo:
        carrier = Carrier(CarrierKind::pipe, r.pointer(inode.at, Field::inode_pipe).value);
        break;
      case FileType::character:
        carrier = Carrier(CarrierKind::terminal, terminal_of(op, file).value);
        break;
      case FileType::socket:
        carrier = receiving_carrier(op, guest::sock_of(r, r.pointer(file.at, Field::file_private_data)));
        break;
      default:
        carrier = Carrier(CarrierKind::queue, inode.at.value);
        break;
    }
  }
  // The object may be gone long since. Then nobody receives from it.
  const bool failed = r.failed();
  if (!failed_before) r.clear_failure();
  return failed && !failed_before ? Carrier() : carrier;
}

void on_pty_cleanup(Operation& op) { op.end(terminal_node(op.pointer(0))); }

}  // namespace oboro::hooks
