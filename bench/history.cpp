// What list, explain, where and status cost after so many events: makes a state directory whose journal has N events,
// and an index of it, and prints a table: what each verb takes with the index and without, what writing the index costs
// for an event beside what writing the journal costs, and the memory of each (the highest, by the kernel).
//
//   build/release/bench/history [N]     default: 300,000
//
// Of a hundred events, 2 classify a file, 44 give labels to a new process, 44 end it, 8 are about files that come and
// go, 2 about a connection. 10,000 files stay. Among them is a chain of 50 steps.

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fcntl.h>
#include <filesystem>
#include <string>
#include <string_view>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include "base/number.h"
#include "index/index.h"
#include "store/journal/appender.h"
#include "store/status.h"

namespace {

using namespace oboro;
using event::Event;
using event::Kind;
using event::Object;
using event::ObjectType;

constexpr uint64_t kChain = 50;
constexpr uint64_t kFilesThatStay = 10'000;

Object file(uint64_t id, const std::string& path) {
  Object object;
  object.type = ObjectType::file;
  object.id = id;
  object.path = path;
  object.inode = 1000 + id;
  object.fs = "11111111-2222-3333-4444-555555555555";
  object.fs_type = "ext4";
  return object;
}

Object process(uint64_t id) {
  Object object;
  object.type = ObjectType::process;
  object.id = id;
  object.process.pid = object.process.tid = static_cast<uint32_t>(300 + id % 30'000);
  object.process.start_time_ns = id * 1'000'000;
  object.process.comm = "cat";
  object.process.exe = "/usr/bin/cat";
  object.process.cgroup = "/system.slice/backup.service";
  return object;
}

class Journal {
 public:
  explicit Journal(store::Appender appender) : appender_(std::move(appender)) { (void)labels_.add("plan"); }

  bool make(const std::string& directory, uint64_t events) {
    if (!labels_.save(directory)) return false;
    const uint64_t chain_at = events / 3;
    while (seq_ < events) {
      if (seq_ >= chain_at && !std::exchange(chained_, true)) chain();
      step(seq_ % 100);
      if (seq_ % 1000 == 0 && !appender_.flush()) return false;
    }
    return appender_.flush() && appender_.sync();
  }

 private:
  void add(Kind kind, Object object, Object from = {}) {
    Event event;
    event.seq = ++seq_;
    event.time_ns = 1'795'383'956'000'000'000 + seq_ * 1'000'000;
    event.boot = 1;
    event.kind = kind;
    event.labels = 1;
    event.object = std::move(object);
    event.from = std::move(from);
    appender_.append(event, labels_, "guest");
  }
  Object kept() {
    const uint64_t number = 1 + files_ % kFilesThatStay;
    return file(number, "/srv/secret/" + std::to_string(number % 300) + "/" + std::to_string(number));
  }
  void step(uint64_t part) {
    if (part == 0 || part == 99) {
      ++files_;
      return add(Kind::classified, kept());
    }
    const bool begins = part % 2 == 1;
    if (begins) ++id_;
    if (part < 89) return begins ? add(Kind::diffusion, process(id_), kept()) : add(Kind::exited, process(id_));
    if (part < 97) {
      if (!begins) return add(Kind::removed, last_);
      last_ = file(id_, "/home/user/out/" + std::to_string(id_));
      return add(Kind::diffusion, last_, kept());
    }
    Object socket;
    socket.type = ObjectType::socket;
    socket.id = id_;
    socket.protocol = "tcp";
    socket.local = {"10.0.2.15", 40000};
    socket.remote = {"10.0.2.2", 443};
    begins ? add(Kind::diffusion, socket, kept()) : add(Kind::closed, socket);
  }
  // From file to process to file...
  void chain() {
    Object from = file(++id_, "/chain/0");
    add(Kind::classified, from);
    for (uint64_t i = 1; i < kChain; ++i) {
      Object to = i % 2 == 1 ? process(++id_) : file(++id_, "/chain/" + std::to_string(i));
      if (i + 1 == kChain) to = file(id_, "/chain/end");
      add(Kind::diffusion, to, from);
      from = to;
    }
  }

  store::Appender appender_;
  store::LabelNames labels_;
  uint64_t seq_ = 0, files_ = 0, id_ = kFilesThatStay;
  bool chained_ = false;
  Object last_;
};

struct Cost {
  double ms = 0, cpu_ms = 0, mib = 0;
  bool good = false;
};

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

template <typename Work>
Cost cost_of(Work&& work) {
  std::fflush(stdout);
  const auto begin = std::chrono::steady_clock::now();
  const pid_t child = ::fork();
  if (child == 0) ::_exit(work() ? 0 : 1);
  int status = 1;
  rusage used{};
  Cost cost;
  cost.good = child > 0 && ::wait4(child, &status, 0, &used) == child && status == 0;
  cost.ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
  cost.cpu_ms = (seconds(used.ru_utime) + seconds(used.ru_stime)) * 1000;
  cost.mib = static_cast<double>(used.ru_maxrss) / 1024;
  return cost;
}

Cost verb(const char* oboro, const std::string& directory, std::vector<std::string> words) {
  return cost_of([&] {
    words.insert(words.begin(), oboro);
    words.insert(words.end(), {"--state", directory});
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    const int nothing = ::open("/dev/null", O_WRONLY);
    ::dup2(nothing, STDOUT_FILENO);
    ::dup2(nothing, STDERR_FILENO);
    ::execv(oboro, arguments.data());
    return false;
  });
}

bool index_all(const std::string& directory) {
  index::Writer writer(directory,
                       [](const store::LabelNames&) { return Result<history::Lasting>(history::Lasting{}); });
  for (;;) {
    const auto step = writer.step();
    if (!step) std::fprintf(stderr, "%s\n", step.error().message.c_str());
    if (!step || step->at_end) return static_cast<bool>(step);
  }
}

bool measure(const char* oboro, const std::string& directory, uint64_t events) {
  auto appender = store::Appender::open(directory);
  if (!appender || !store::write_status(directory, {})) return false;
  Journal journal(std::move(*appender));
  const double each = 1000 / static_cast<double>(events);
  const auto row = [](const char* what, const Cost& cost) {
    std::printf("%-28s %10.1f ms (CPU %10.1f)  %7.1f MiB%s\n", what, cost.ms, cost.cpu_ms, cost.mib,
                cost.good ? "" : "   FAILED");
    return cost.good;
  };
  const Cost written = cost_of([&] { return journal.make(directory, events); });
  bool good = row("journal written", written);
  const std::vector<std::pair<const char*, std::vector<std::string>>> verbs = {
      {"explain, a chain of 50", {"explain", "/chain/end", "--json"}},
      {"where, from its beginning", {"where", "/chain/0", "--json", "--limit", "50"}},
      {"list", {"list", "--json"}},
      {"status", {"status"}},
  };
  for (const auto& [what, words] : verbs)
    good = row((std::string(what) + ", without").c_str(), verb(oboro, directory, words)) && good;
  const Cost indexed = cost_of([&] { return index_all(directory); });
  good = row("index written", indexed) && good;
  for (const auto& [what, words] : verbs) good = row(what, verb(oboro, directory, words)) && good;
  std::printf("journal %.0f MiB, %.2f us of CPU for an event; index %.0f MiB, %.2f us\n",
              static_cast<double>(std::filesystem::file_size(store::journal_path(directory))) / (1 << 20),
              written.cpu_ms * each, static_cast<double>(index::size_on_disk(directory)) / (1 << 20),
              indexed.cpu_ms * each);
  return good;
}

}  // namespace

int main(int count, char** words) {
  uint64_t events = 300'000;
  if (count > 2 || (count > 1 && !parse_number(words[1], events)) || events < 1000) {
    std::fprintf(stderr, "usage: history [EVENTS]\n");
    return 2;
  }
  std::error_code ignored;
  const std::string oboro =
      std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path().parent_path() / "bin" / "oboro";
  char name[] = "/var/tmp/oboro-bench-XXXXXX";
  if (::mkdtemp(name) == nullptr) return 2;
  const std::string directory = name;
  const bool good = measure(oboro.c_str(), directory, events);
  std::filesystem::remove_all(directory, ignored);
  return good ? 0 : 1;
}
