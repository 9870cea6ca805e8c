// Labels on their way: from the object that holds them to the one that they come to, and on to whatever holds the data
// as soon as that one does - processes that share memory with it, those that map a file, those that wait to receive.
// Each of these flows is decided about before its labels are there. The first one can be stopped by that; what it would
// reach is found only when it has been recorded (a receiver that does not find a label is remembered instead, so
// the label has to be there before receivers are looked for): if the policy denies such a further flow, the operation
// is denied and labels that are recorded by then stay, which is too much and never too little.
//
// Slow path; takes the lock of labels::Carriers. Threads: as Operation.
#pragma once

#include <vector>

#include "hooks/operation.h"

namespace oboro::hooks {

class Propagation {
 public:
  explicit Propagation(Operation& op) : op_(op), env_(op.env), r_(op.r) {}

  void run(const Node& from, const Node& to);
  // Labels that come from a path pattern.
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
  void follow_notes(const Node& reached);
  void reach(const Node& from, const Node& to) { steps_.push_back({from, to}); }

  Operation& op_;
  Environment& env_;
  guest::Reader& r_;
  std::vector<Step> steps_;
};

}  // namespace oboro::hooks
