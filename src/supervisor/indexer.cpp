#include "supervisor/indexer.h"

#include <chrono>
#include <sys/resource.h>
#include <unistd.h>
#include <utility>

#include "base/thread.h"
#include "index/index.h"
#include "supervisor/read_back.h"

namespace oboro::supervisor {
namespace {

constexpr int kIndexerNice = 19;
constexpr std::chrono::milliseconds kGather(500);  // so that a batch is worth its transaction

}  // namespace

Indexer::Indexer(std::string directory, Say say) : directory_(std::move(directory)), say_(std::move(say)) {}

Result<void> Indexer::start() {
  Result<std::thread> thread = start_thread([this] { work(); });
  if (!thread) return thread.error();
  thread_ = std::move(*thread);
  return {};
}

Indexer::~Indexer() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Indexer::grew() {
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(grew_, true)) return;
  }
  wake_.notify_one();
}

// Until there is something to take. False: the end has come, and this is the last batch.
bool Indexer::wait() {
  std::unique_lock lock(mutex_);
  wake_.wait(lock, [this] { return ending_ || grew_; });
  wake_.wait_for(lock, kGather, [this] { return ending_; });
  grew_ = false;
  return !ending_;
}

void Indexer::work() {
  (void)::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), kIndexerNice);
  index::Writer writer(directory_,
                       [this](const store::LabelNames& labels) { return held_at_begin(directory_, labels); });
  for (bool last = false, at_end = true; !last;) {
    if (at_end) {
      last = !wait();
    } else {
      const std::lock_guard lock(mutex_);
      last = ending_;
    }
    auto step = writer.step();
    if (!step) {
      // A run that has not written anything yet has no journal.
      if (step.error().code == Errc::not_found) continue;
      say_("the index of the journal is not kept any more, so oboro list, explain and status take longer: " +
           step.error().message);
      return;
    }
    if (!step->anew.empty()) say_("the index of the journal is made anew: " + step->anew);
    at_end = step->at_end;
  }
}

}  // namespace oboro::supervisor
