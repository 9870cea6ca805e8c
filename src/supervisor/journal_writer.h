// The writing side of a state directory during a run: from the ring that the tracer fills to the journal, on a thread
// of its own.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "link/settings.h"
#include "store/journal.h"
#include "store/label_names.h"
#include "store/state_dir.h"
#include "stream/recorder.h"
#include "stream/ring.h"

namespace oboro::supervisor {

class JournalWriter {
 public:
  // Makes the directory this run's alone, brings over what an earlier run left in the ring, and reads back which files
  // bear labels. Each rule gets the labels that its label's name stands for. Errors: the state directory's (invalid,
  // limit: another run has it, io), or rules that no label is left for.
  static Result<std::unique_ptr<JournalWriter>> open(const std::string& state_dir, const std::string& vm,
                                                     std::vector<link::ClassifyRule> rules);
  ~JournalWriter();

  const link::Settings& settings() const { return settings_; }
  int producer_fd() const { return producer_.get(); }  // the ring, for the tracer

  Result<void> start(std::string engine, std::string qemu);  // journals `started`; the thread runs from here on
  Result<void> finish(std::string how);  // the tracer has ended: writes what is left, then `stopped`
  // Journals a `warning`, on the thread.
  void warn(std::string what);
  // What went wrong since the last call and the user should hear now; trouble_fd() is readable as long as there is
  // some.
  bool available() const { return !refusing_; }  // the journal could be written when that was tried last
  int trouble_fd() const { return troubled_.get(); }
  std::optional<std::string> trouble();

 private:
  JournalWriter(std::string state_dir, std::string vm, store::StateLock lock, store::Appender appender,
                store::LabelNames labels, stream::Ring ring, UniqueFd producer, UniqueFd troubled,
                link::Settings settings);
  void work();
  void complain(std::string what);
  void write_warnings();

  const std::string state_dir_;
  store::StateLock lock_;
  store::Appender appender_;
  store::LabelNames labels_;
  stream::Ring ring_;
  UniqueFd producer_;
  link::Settings settings_;
  stream::Recorder recorder_;
  std::atomic<bool> ending_{false};
  std::thread thread_;
  std::mutex words_mutex_;
  std::optional<std::string> trouble_;
  UniqueFd troubled_;  // eventfd
  std::vector<std::string> warnings_;
  std::atomic<bool> refusing_{false};
};

}  // namespace oboro::supervisor
