// Names of files: they come, go, and change.

#include "hooks/table.h"

namespace oboro::hooks {

using guest::FileType;

namespace {

// A name that no pattern spells out. What a pattern says of this name, it says of every name in the directory.
constexpr std::string_view kAnyName = "/\x01";

// A file that matches a pattern by its old name, and that nobody has opened yet, is classified before it is renamed. So
// is a directory of which every file matches. A directory of which only some files may match cannot be followed.
void classify_before_renaming(Operation& op, guest::Dentry from, guest::Inode inode, std::string_view old_path,
                              std::string_view new_path) {
  if (op.env.patterns.empty()) return;
  const bool directory = inode.type(op.r) == FileType::directory;
  std::string probe(old_path);
  if (directory) probe += kAnyName;
  const labels::Pattern* pattern = op.env.patterns.first_match(probe);
  uint64_t labels = pattern ? op.env.patterns.match(probe) : 0;
  if (directory) labels &= ~op.env.patterns.match(std::string(new_path) + std::string(kAnyName));
  if (labels & ~op.env.carriers.labels(file_node(inode, from).carrier))
    op.classify(file_node(inode, from), labels, pattern->text());
  if (directory && !pattern && op.env.patterns.may_match_below(old_path, new_path))
    op.env.reporter.incomplete(
        "a directory that may hold classified files was renamed: those not opened before are not known");
}

// A directory's move is told if it moves names of files with labels: there is no end to the others that anybody may
// make. other_half: the first half of an exchange was told. Whether this was.
bool report_move(Operation& op, guest::Dentry from, guest::Dentry to, bool other_half = false) {
  const guest::Inode inode = from.inode(op.r);
  if (!inode.at) return false;
  const FileType type = inode.type(op.r);
  if (type != FileType::regular && type != FileType::directory) return false;
  const std::string old_path = from.true_path(op.r), new_path = to.true_path(op.r);
  classify_before_renaming(op, from, inode, old_path, new_path);
  const uint64_t labels = labels_of_file(op, inode);
  if (type == FileType::directory) {
    if (!labels && !op.env.carriers.any_file()) return false;
    labels::NamedPlaces& places = op.env.carriers.places();
    const std::string fs = file_system_of(op.r, inode);
    if (!labels && !other_half && !places.matter(fs, old_path)) return false;
    places.add_moved(fs, new_path);
  } else if (!labels) {
    return false;
  }
  op.report(event::Kind::renamed, file_node(inode, to), labels, old_path);
  return true;
}

}  // namespace

void on_inode_link(Operation& op) {
  const guest::Dentry from{op.pointer(0)}, to{op.pointer(2)};
  const guest::Inode inode = from.inode(op.r);
  if (!inode.at || inode.type(op.r) != FileType::regular) return;
  classify_before_renaming(op, from, inode, from.true_path(op.r), to.true_path(op.r));
  const uint64_t labels = labels_of_file(op, inode);
  if (labels) op.report(event::Kind::linked, file_node(inode, to), labels);
}

void on_d_move(Operation& op) {
  const guest::Dentry from{op.pointer(0)}, to{op.pointer(1)};
  const guest::Inode replaced = to.inode(op.r);
  if (replaced.at) {
    const uint64_t labels = labels_of_file(op, replaced);
    if (labels) op.report(event::Kind::unlinked, file_node(replaced, to), labels);
  }
  report_move(op, from, to);
}

void on_d_exchange(Operation& op) {
  const guest::Dentry one{op.pointer(0)}, other{op.pointer(1)};
  if (!op.env.carriers.any_file() && op.env.patterns.empty()) return;
  const auto lock = op.env.carriers.lock();  // nothing that another vCPU tells comes between the two halves
  const bool told = report_move(op, one, other);
  report_move(op, other, one, told);
}

void on_d_delete(Operation& op) {
  const guest::Dentry dentry{op.pointer(0)};
  const guest::Inode inode = dentry.inode(op.r);
  if (!inode.at) return;
  const uint64_t labels = labels_of_file(op, inode);
  if (labels) op.report(event::Kind::unlinked, file_node(inode, dentry), labels);
}

}  // namespace oboro::hooks
