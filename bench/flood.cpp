// What a guest that floods costs, and whom: two guests' journals side by side on one disk, from their rings as QEMU
// fills them. One makes N renames of 400 bytes as fast as it can, the other one sends out a hundred times a second
// until that is over.
//
//   build/release/bench/flood [N]       default: 1,000,000
//
// Prints what came and what was left of it, and what the other one has lost: nothing, or the exit status is 1. "CPU" is
// the whole process's, the making of the renames too.

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <string>
#include <thread>
#include <unistd.h>

#include "base/number.h"
#include "event/codec.h"
#include "store/journal/verify.h"
#include "stream/reader.h"
#include "stream/ring_writer.h"
#include "supervisor/journal_writer.h"

namespace {

using namespace oboro;
using event::Event;
using event::Kind;

using Part = stream::RingWriter::Part;

// What the tracer does with an event, but that it never waits for room.
class Guest {
 public:
  Guest(const std::string& state, supervisor::JournalWriter& journal)
      : seq_(journal.settings().first_seq), ring_(stream::RingWriter::open(stream::ring_path(state))) {}
  bool push(Kind kind, const event::Object& object) {
    Event event;
    event.kind = kind;
    event.seq = seq_++;
    event.boot = 1;
    event.object = object;
    bytes_.clear();
    event::encode(event, bytes_);
    const bool pushed = ring_->push(bytes_, event::room_of(kind) == event::Room::kept ? Part::all : Part::shared);
    lost_ += !pushed;
    return pushed;
  }
  bool is_open() const { return static_cast<bool>(ring_); }
  uint64_t lost() const { return lost_; }

 private:
  uint64_t seq_, lost_ = 0;
  Result<stream::RingWriter> ring_;
  std::vector<std::byte> bytes_;
};

double cpu_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

uint64_t count(const std::string& state, Kind kind, uint64_t* left_out = nullptr) {
  uint64_t found = 0;
  auto reader = stream::Reader::open(state);
  for (Event event; reader && *reader->next(event);) {
    found += event.kind == kind;
    if (left_out != nullptr) *left_out += event.as<event::Flood>().count;
  }
  return found;
}

bool is_whole(const std::string& state) {
  const auto verified = store::verify(state);
  return verified && !verified->problem;
}

bool measure(const std::string& directory, uint64_t events) {
  const std::string flooding = directory + "/flooding", quiet = directory + "/quiet";
  auto one = supervisor::JournalWriter::open(flooding, "flooding", {});
  auto other = supervisor::JournalWriter::open(quiet, "quiet", {});
  if (!one || !other || !(*one)->start("tcg", "11.1.3") || !(*other)->start("tcg", "11.1.3")) return false;
  Guest flooder(flooding, **one), sender(quiet, **other);
  if (!flooder.is_open() || !sender.is_open()) return false;

  event::Object renamed, socket;
  renamed.type = event::ObjectType::file;
  renamed.path = "/home/" + std::string(394, '\xff');
  socket.type = event::ObjectType::socket;
  socket.protocol = "tcp";
  const double cpu = cpu_seconds();
  const auto begin = std::chrono::steady_clock::now();
  std::atomic<bool> over{false};
  std::thread flood([&] {
    for (uint64_t i = 0; i < events; ++i)
      if (!flooder.push(Kind::renamed, renamed)) std::this_thread::yield();
    flooder.push(Kind::leak, socket);
    over = true;
  });
  uint64_t leaks = 0;
  for (; !over || leaks == 0; ++leaks) {
    sender.push(Kind::leak, socket);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  flood.join();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (!(*one)->finish("over") || !(*other)->finish("over")) return false;
  const double used = cpu_seconds() - cpu;

  uint64_t left_out = 0;
  const uint64_t written = count(flooding, Kind::renamed, &left_out), own = count(flooding, Kind::leak);
  const uint64_t missing = leaks - count(quiet, Kind::leak);
  const double all = static_cast<double>(events);
  std::printf("%.0f renames a second came, for %.1f s; CPU %.2f us for each\n", all / seconds, seconds,
              used / all * 1e6);
  std::printf("written %lu, left out %lu, not in the ring %lu; the journal has %.1f MiB\n", written, left_out,
              flooder.lost(),
              static_cast<double>(std::filesystem::file_size(store::journal_path(flooding))) / (1 << 20));
  std::printf("its own leak: %s; of the other's %lu leaks %lu are missing\n", own == 1 ? "there" : "MISSING", leaks,
              missing);
  const bool whole = is_whole(flooding) && is_whole(quiet);
  std::printf("both journals are %s\n", whole ? "whole" : "NOT WHOLE");
  return whole && missing == 0 && own == 1;
}

}  // namespace

int main(int count, char** words) {
  uint64_t events = 1'000'000;
  if (count > 2 || (count > 1 && !parse_number(words[1], events)) || events == 0) {
    std::fprintf(stderr, "usage: flood [EVENTS]\n");
    return 2;
  }
  char name[] = "/var/tmp/oboro-bench-XXXXXX";
  if (::mkdtemp(name) == nullptr) return 2;
  const bool good = measure(name, events);
  std::error_code ignored;
  std::filesystem::remove_all(name, ignored);
  return good ? 0 : 1;
}
