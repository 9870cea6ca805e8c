#include "hooks/propagation.h"

#include <algorithm>
#include <utility>

#include "guest/address_space.h"
#include "hooks/table.h"

namespace oboro::hooks {

using event::Kind;
using labels::Carrier;
using labels::CarrierKind;

namespace {

constexpr size_t kMaxSteps = 65536;      // objects reached by one operation
constexpr size_t kMaxProcesses = 65536;  // processes looked at to find who shares an address space

}  // namespace

void Propagation::run(const Node& from, std::span<const Node> to) {
  const auto lock = env_.carriers.lock();
  for (const Node& one : to) reach(from, one);
  apply_all();
}

void Propagation::apply_all() {
  for (size_t i = 0;;) {
    for (; i < steps_.size(); ++i) {
      if (i == kMaxSteps) return env_.reporter.incomplete("one operation reached more objects than can be followed");
      apply(Step(steps_[i]));
    }
    if (reached_.empty()) return;
    follow_notes();
  }
}

void Propagation::apply(const Step& step) {
  const auto& [from, to] = step;
  // A node that could not be read is null. A label on null would be a label on everything that cannot be read later.
  // (Process 0 is the idle task.)
  if (!to.carrier.has_value()) return;
  const auto* file = to.as<FileNode>();
  const Carrier alias = file ? op_.identity_of(file->inode) : Carrier();
  const uint64_t missing = env_.carriers.missing(from.carrier, to.carrier, alias);
  const bool denied = missing && op_.decide(from.carrier, to.carrier, missing, channel_between(from, to)).denies();
  labels::Spread spread{.added = missing, .from_id = env_.carriers.find(from.carrier).id};
  if (!denied) spread = env_.carriers.spread(from.carrier, to.carrier, alias);
  if (spread.full) env_.reporter.incomplete(labels::kTableFull);
  if (!spread.added) return;

  event::Event event;
  event.kind = Kind::diffusion;
  event.labels = spread.added;
  if (denied) event.verdict = event::Verdict::deny;
  // A process that waited and now receives is the event's subject, whichever task runs this hook.
  const auto* receiver = to.as<ProcessNode>();
  if (from.as<ProcessNode>() || from.as<FileNode>()) receiver = nullptr;
  describe_subject(op_, event, receiver ? receiver->task : op_.task());
  describe(r_, from, event.from);
  describe(r_, to, event.object);
  event.from.id = spread.from_id;
  event.object.id = spread.to_id;
  env_.report(event);
  if (!denied) follow(to);
}

// Follows the labels to all else that holds the data as soon as `reached` does.
void Propagation::follow(const Node& reached) {
  if (const auto* process = reached.as<ProcessNode>()) return follow_process(reached, process->task);
  if (const auto* file = reached.as<FileNode>()) return follow_file(reached, file->inode);
  if (env_.filter) return reached_.push_back(reached);
  env_.carriers.receivers().for_each(reached.carrier, [&](uint64_t waiting) {
    const guest::Task receiver{Gva(waiting)};
    if (op_.is_receiving(receiver)) reach(reached, process_node(r_, receiver));
  });
}

void Propagation::follow_process(const Node& reached, guest::Task task) {
  const Gva mm = task.mm(r_);
  if (!mm) return;
  const auto users = r_.get<uint32_t>(mm, guest::Field::mm_users);
  const auto threads =
      r_.get<uint32_t>(r_.pointer(task.at, guest::Field::task_signal), guest::Field::signal_nr_threads);
  if (users > threads) {  // perhaps another process shares the memory (vfork, clone with CLONE_VM alone)
    const uint32_t own = task.tgid(r_);
    const bool complete = guest::for_each_process(r_, kMaxProcesses, [&](guest::Task other) {
      if (other.mm(r_) == mm && other.tgid(r_) != own) reach(reached, process_node(r_, other));
      return true;
    });
    if (!complete) env_.reporter.incomplete("the list of processes could not be read to its end");
  }
  std::vector<guest::Inode> inodes;
  if (!guest::shared_writable_inodes(r_, mm, inodes))
    env_.reporter.incomplete("the memory mappings of a process could not be read to their end");
  for (const guest::Inode inode : inodes) reach(reached, file_node(inode, {}));
}

void Propagation::follow_file(const Node& reached, guest::Inode inode) {
  std::vector<guest::Task> owners;
  if (!guest::mappers(r_, inode, owners))
    env_.reporter.incomplete("the processes that map a file could not be read to their end");
  for (const guest::Task owner : owners) reach(reached, process_node(r_, owner));
}

// Every task in a call that receives leaves a note of its carrier before it asks whether that carrier is of interest.
// So either the task found the mark, which is set by now, or its note is here. One walk serves all that was reached.
void Propagation::follow_notes() {
  const auto key = [](const Node& node) { return node.carrier.key(); };
  std::vector<Node> reached = std::exchange(reached_, {});
  std::ranges::sort(reached, {}, key);
  const auto look_at = [&](guest::Task task) {
    if (!op_.is_receiving(task)) return true;
    guest::Reader reader = r_.another();  // the task may be gone
    const Gva stack = reader.pointer(task.at, guest::Field::task_stack);
    const uint64_t note = reader.at<uint64_t>(stack + engine::kNoteOffset);
    if (reader.failed() || !note) return true;
    const Carrier carrier = carrier_of_note(op_, task, note);
    const auto found = std::ranges::lower_bound(reached, carrier.key(), {}, key);
    if (found != reached.end() && found->carrier == carrier) reach(*found, process_node(r_, task));
    return true;
  };
  // The other vCPUs go on: a task that ends during the walk may lead it astray, but hardly three times.
  bool complete = false;
  for (int attempt = 0; attempt < 3 && !complete && !r_.exhausted(); ++attempt) {
    guest::Reader walker = r_.another();
    complete = guest::for_each_thread(walker, kMaxProcesses, look_at) && !walker.failed();
  }
  if (!complete) env_.reporter.incomplete("the list of threads could not be read to its end");
}

void Propagation::classify(const Node& file, uint64_t labels, std::string_view pattern) {
  const auto lock = env_.carriers.lock();
  const auto* known = file.as<FileNode>();
  const Carrier identity = known && known->inode.at ? op_.identity_of(known->inode) : Carrier();
  const labels::Spread spread = env_.carriers.add(labels, file.carrier, identity);
  if (spread.full) env_.reporter.incomplete(labels::kTableFull);
  if (!spread.added) return;
  event::Event event;
  event.set(event::Classified{std::string(pattern)});
  event.labels = spread.added;
  describe_subject(op_, event, op_.task());
  describe(r_, file, event.object);
  event.object.id = spread.to_id;
  env_.report(event);
  follow(file);
  apply_all();
}

}  // namespace oboro::hooks
