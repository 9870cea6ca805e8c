// Somebody outside of the guest who is to answer: a service's proxy, or whoever decides about a call. A task waits for
// the answer while the guest goes on (SteeredTask::wait_for()).
#pragma once

#include <cstdint>

#include "link/settings.h"
#include "steer/clock.h"
#include "steer/expectation.h"

namespace oboro::steer {

// One question on its way. Its functions are called on the vCPU thread of the task that waits. Only stand() may stand
// still.
class Answerable {
 public:
  virtual ~Answerable() = default;
  // Whether the answer is there; the first look comes before any wait.
  virtual bool ready() = 0;
  // Whether no answer will come any more. The task has waited for so long, in so many pauses: a short wait need not pay
  // for finding out, which may be a system call.
  virtual bool gone(uint64_t waited_ns, unsigned pauses) = 0;
  // The caller stands still until the answer may be there, or for this long.
  virtual void stand(uint64_t nanoseconds) = 0;
  // A signal is there for the task: the answer is to come soon, whatever it is. The task still waits for it.
  virtual void cancel() = 0;
};

// How long a task waits, and what ends it early.
struct WaitFor {
  bool interruptible = false;  // by any signal; else only death ends it
  // For answers that take their time, but wait for nobody else: how long such answers took before. Null: the answer may
  // take for ever.
  Expectation* expectation = nullptr;
  uint64_t deadline = UINT64_MAX;  // now_ns()
};

enum class WaitEnd : uint8_t {
  answered,
  cancelled,  // answered, after a signal
  gone,       // there will be no answer
  killed,
  late,  // the deadline has passed
};

// How a task lets time pass (docs/decisions/011).
using link::Wait;

// One wait: a look, a pause, a look...
struct Waiting {
  Answerable* asked = nullptr;  // who is to answer; null: the wait is for something else
  bool foreseeable = false;     // the wait is over as soon as that one has done its work
  uint64_t expected = 0;        // after this time (ns)
  uint64_t since = 0;
  unsigned pauses = 0;
  bool stood = false;  // in the last pause the vCPU stood still, until there was an answer or for too long
  uint64_t waited() const { return pauses ? now_ns() - since : 0; }
};

}  // namespace oboro::steer
