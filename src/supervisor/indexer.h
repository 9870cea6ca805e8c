// Keeps the index beside the journal (index::Writer) up to date during a run, on a thread of its own, at the lowest
// priority: the journal never waits for it, nor does a guest. What it cannot write it says once, and stops.
//
// Threads: any. `say` is called on the indexer's thread.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "base/result.h"

namespace oboro::supervisor {

class Indexer {
 public:
  using Say = std::function<void(std::string what)>;
  Indexer(std::string state_directory, Say say);
  Result<void> start();  // errors: limit (no thread)
  // Takes one more batch, which is all there is unless it was far behind, and ends.
  ~Indexer();

  void grew();  // the journal did

 private:
  void work();
  bool wait();

  const std::string directory_;
  const Say say_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool ending_ = false, grew_ = true;  // an earlier run may have left something to do
  std::thread thread_;
};

}  // namespace oboro::supervisor
