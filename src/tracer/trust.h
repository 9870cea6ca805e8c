// Whether tracing can be vouched for, and what is done while it cannot: the reactions of `[safety]` (policy::Policy).
//
// Threads: any. The reaction to a trouble holds on every vCPU before doubt() returns.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>

#include "labels/carriers.h"
#include "policy/policy.h"
#include "tracer/reasons.h"

namespace oboro::tracer {

// Each time is a new trouble: an operator who says go on cannot know of the next one.
inline constexpr char kLostRecords[] = "records were lost";

class Trust {
 public:
  // carriers must outlive this.
  Trust(const policy::Policy& policy, labels::Carriers& carriers) : policy_(policy), carriers_(carriers) {}

  // There is trouble. why: a string literal, known by its address. Sends are refused if that is the reaction, unless an
  // operator has said go on with this very trouble. True: the machine is to stand still, and nobody has been told yet.
  bool doubt(policy::Trouble trouble, const char* why);
  // The trouble is over.
  void mended(policy::Trouble trouble);
  // An operator says go on: troubles that have been told so far do not refuse sends any more.
  void go_on();

 private:
  void renew();

  const policy::Policy policy_;
  labels::Carriers& carriers_;
  Reasons reasons_;
  std::array<std::atomic<bool>, Reasons::kMost> accepted_{};  // by an operator
  // The first reason of each trouble that stands.
  std::array<std::atomic<const char*>, static_cast<size_t>(policy::Trouble::count)> standing_{};
  std::array<std::atomic<bool>, static_cast<size_t>(policy::Trouble::count)> pause_told_{};
};

}  // namespace oboro::tracer
