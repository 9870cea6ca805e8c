// The writing side of a state directory during a run: from the ring that the tracer fills to the journal, on a thread
// of its own. It also keeps the state that the next run needs, and writes it down as a checkpoint.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "link/settings.h"
#include "store/journal/appender.h"
#include "store/journal/keeping.h"
#include "store/label_names.h"
#include "store/state_dir.h"
#include "stream/recorder.h"
#include "stream/ring_reader.h"
#include "stream/ring_writer.h"
#include "supervisor/archivist.h"
#include "supervisor/indexer.h"
#include "supervisor/read_back.h"

namespace oboro::supervisor {

class JournalWriter {
 public:
  // Of the checkpoints for the next start.
  struct Checkpoints {
    uint64_t every = 4 << 20;  // bytes of journal between two, at least
    // Each is written on the journal's thread, while the ring fills. Where there is more to write - files that bear
    // labels, and their names - only at the end.
    uint64_t most_meanwhile = 200'000;
    // Where there is more than that, what they would be made of is no longer kept: a guest could take all our memory.
    uint64_t most_kept = 4'000'000;
  };

  struct Options {
    store::Keeping keeping;
    Checkpoints checkpoints;
    stream::Clock clock = stream::steady_ns;
  };

  // Makes the directory this run's alone, brings over what an earlier run left in the ring, and reads back which files
  // bear labels. Each rule gets the labels that its label's name stands for. Errors: the state directory's (invalid,
  // limit: another run has it, io), or rules that no label is left for.
  static Result<std::unique_ptr<JournalWriter>> open(const std::string& state_dir, const std::string& vm,
                                                     std::vector<link::ClassifyRule> rules, const Options& options);
  static Result<std::unique_ptr<JournalWriter>> open(const std::string& state_dir, const std::string& vm,
                                                     std::vector<link::ClassifyRule> rules) {
    return open(state_dir, vm, std::move(rules), Options{});
  }
  ~JournalWriter();

  const link::Settings& settings() const { return settings_; }
  uint64_t lines_read() const { return lines_read_; }  // of the journal, by open()
  int lock_for_guest() const { return lock_.guest_fd(); }
  const stream::RingWriter::Files& ring_for_tracer() const { return for_tracer_; }

  Result<void> start(std::string engine, std::string qemu);  // journals `started`; the thread runs from here on
  Result<void> finish(std::string how);  // the tracer has ended: writes what is left, then `stopped`
  // Journals a `warning`, on the thread.
  void warn(std::string what);
  bool available() const { return !refusing_; }  // the journal could be written when that was tried last
  // Trouble since the last call that the user should hear of now. trouble_fd() is readable as long as there is some.
  int trouble_fd() const { return troubled_.get(); }
  std::optional<std::string> trouble();

 private:
  JournalWriter(std::string state_dir, std::string vm, store::StateLock lock, store::Appender appender,
                store::LabelNames labels, stream::RingReader ring, stream::RingWriter::Files for_tracer,
                UniqueFd troubled, link::Settings settings, ReadBack read_back, const Options& options);
  void work();
  Result<stream::Pumped> pump();
  void keep(const event::Event& event);
  bool checkpoint_due() const;
  Result<stream::Cursor> journal_end() const;  // nothing is pending
  bool write_checkpoint(const Result<stream::Cursor>& cursor);
  void look_after_segments();
  void cut();
  store::Head head() const;
  void complain(std::string what);
  void write_warnings();

  const std::string state_dir_, vm_;
  store::StateLock lock_;
  store::Appender appender_;
  store::LabelNames labels_;
  stream::RingReader ring_;
  stream::RingWriter::Files for_tracer_;
  link::Settings settings_;
  uint32_t boot_;           // of the last event
  history::History state_;  // the thread's, while there is one
  Places places_;
  const uint64_t lines_read_;
  const Options options_;
  uint64_t cut_at_;                                      // bytes of the newest segment
  std::chrono::steady_clock::time_point looked_, sent_;  // the archivist, and a head
  std::string sent_head_;
  bool state_is_whole_ = true;  // state_ is of all that was journaled
  uint64_t checkpointed_ = 0;   // the journal's size then
  uint64_t checkpoint_size_ = 0;
  uint64_t checkpointed_ns_ = 0;
  bool left_out_ = false;  // events, of this run, and the user was told
  bool checkpoint_failed_ = false;
  stream::Recorder recorder_;
  std::atomic<bool> ending_{false};
  std::thread thread_;
  std::mutex words_mutex_;
  std::optional<std::string> trouble_;
  UniqueFd troubled_;  // eventfd
  std::vector<std::string> warnings_;
  std::atomic<bool> refusing_{false};
  std::unique_ptr<Archivist> archivist_;  // it calls warn() and complain(), as the next
  std::unique_ptr<Indexer> indexer_;
  uint64_t told_ = 0;  // the indexer: the journal's size
};

}  // namespace oboro::supervisor
