// Keeps the journal's older segments: compresses them, removes what is too old or too much, and sends heads of its hash
// chain elsewhere. On a thread of its own, at the lowest priority: none of it may keep the journal waiting.
//
// A segment is only removed once the one behind it has a checkpoint of its beginning (segment_checkpoint_path): what
// files bear labels must not be lost with it.
//
// Threads: send(), look() and the destructor by one thread at a time. `say` is called on the archivist's thread.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "base/result.h"
#include "store/journal/keeping.h"
#include "store/journal/verify.h"

namespace oboro::supervisor {

// Appends it to the file, and gives it to the command, which has kCommandMs. Errors: io.
inline constexpr int kCommandMs = 10'000;
Result<void> send_head(const store::Keeping& keeping, const std::string& vm, const store::Head& head);

class Archivist {
 public:
  // What happened to the journal that its readers should know (an event), or what went wrong, which comes once until it
  // is mended.
  using Say = std::function<void(std::string what, bool is_event)>;
  Archivist(std::string state_directory, store::Keeping keeping, Say say);
  Result<void> start();  // errors: limit (no thread)
  ~Archivist();          // waits for what is under way: a segment, or a command (kCommandMs)

  void look();                                  // there is another segment, or time has passed
  void send(std::string vm, store::Head head);  // the newest replaces one that was not sent yet

 private:
  void work();
  void compress();
  void remove();
  void tell(std::optional<std::string>& last, const Result<void>& result);

  const std::string directory_;
  const store::Keeping keeping_;
  const Say say_;
  std::optional<std::string> compress_failed_, remove_failed_, send_failed_;  // what was said of it
  std::mutex mutex_;
  std::condition_variable wake_;
  bool ending_ = false, look_ = true;  // an earlier run may have left something to do
  std::optional<std::pair<std::string, store::Head>> head_;
  std::thread thread_;
};

}  // namespace oboro::supervisor
