// Somebody outside of the guest who is to answer: a service's proxy, or whoever decides about a call. A task waits for
// the answer while the guest goes on (SteeredTask::wait_for()).
#pragma once

#include <cstdint>

#include "link/settings.h"
#include "steer/clock.h"
#include "steer/expectation.h"

namespace oboro::steer {

// One question on its way. Called on the vCPU thread of the task that waits; what is not said to stand still must not.
class Answerable {
 public:
  virtual ~Answerable() = default;
  // Whether the answer is there; the first look comes before any wait.
  virtual bool ready() = 0;
  // Whether none will come any more. So long has been waited, in so many pauses: what it costs to find out, a system
  // call say, need not be paid for a short wait.
  virtual bool gone(uint64_t waited_ns, unsigned pauses) = 0;
  // The caller stands still until the answer may be there, or for so long.
  virtual void stand(uint64_t nanoseconds) = 0;
  // A signal is there for the task: the answer is to come soon, whatever it is. It is still waited for.
  virtual void cancel() = 0;
};

// How long a task waits, and what ends it early.
struct WaitFor {
  bool interruptible = false;  // by any signal; else only death ends it
  // Of answers that take their time, but wait for nobody else: what such took before. Null: it may take for ever.
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

// How a task lets time pass.
using link::Wait;

// One wait: a look, a pause, a look...
struct Waiting {
  Answerable* asked = nullptr;  // whose answer is waited for; null: something else
  bool foreseeable = false;     // it is over as soon as that one has done its work
  uint64_t expected = 0;        // after that time (ns)
  uint64_t since = 0;
  unsigned pauses = 0;
  bool stood = false;  // the last one: the vCPU stood still until there was an answer, or for too long
  uint64_t waited() const { return pauses ? now_ns() - since : 0; }
};

}  // namespace oboro::steer
