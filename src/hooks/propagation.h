// Labels on their way: from the object that holds them to the one that they come to, and on to all that holds the data
// as soon as that one does: processes that share its memory, processes that map a file, tasks that wait to receive.
// Each of these flows is decided about before its labels go. The first flow can be stopped by that. Further flows are
// found only after the first one has been recorded. (The label has to be there before receivers are looked for: a
// receiver that finds no label is remembered instead.) If the policy denies a further flow, the operation is denied,
// and the labels recorded by then stay. That is too much, and never too little.
//
// Slow path; takes the lock of labels::Carriers. Threads: as Operation.
#pragma once

#include <span>
#include <vector>

#include "hooks/operation.h"

namespace oboro::hooks {

class Propagation {
 public:
  explicit Propagation(Operation& op) : op_(op), env_(op.env), r_(op.r) {}

  void run(const Node& from, std::span<const Node> to);
  // The file gets labels from a path pattern.
  void classify(const Node& file, uint64_t labels, std::string_view pattern);

 private:
  struct Step {
    Node from, to;
  };
  void apply(const Step& step);
  void apply_all();
  void follow(const Node& reached);
  void follow_process(const Node& reached, guest::Task task);
  void follow_file(const Node& reached, guest::Inode inode);
  void follow_notes();
  void reach(const Node& from, const Node& to) { steps_.push_back({from, to}); }

  Operation& op_;
  Environment& env_;
  guest::Reader& r_;
  std::vector<Step> steps_;
  std::vector<Node> reached_;  // by labels; tasks may wait there, and have left notes. Looked for all at once
};

}  // namespace oboro::hooks
