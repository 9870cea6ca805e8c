// What a start costs after so many events: makes a state directory whose journal has N events, of which a hundredth are
// files that keep their labels (F at most), then opens it as `oboro run` does, first without a checkpoint, then with
// one. Prints a line for each: LINES read, MILLISECONDS, those of CPU time, and by how much the process GREW, in MiB
// (its highest).
//
//   build/release/bench/journal_start [N [F]]     default: 1,000,000 and 10,000

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <sys/wait.h>
#include <unistd.h>

#include "base/number.h"
#include "supervisor/checkpoint.h"
#include "supervisor/journal_writer.h"

namespace {

using namespace oboro;
using event::Event;
using event::Kind;

// A file with labels every hundred events; else processes that read one of them, and end.
Event event_of(uint64_t number, uint64_t files) {
  Event event;
  event.seq = number;
  event.time_ns = 1'795'383'956'000'000'000 + number * 1'000'000;
  event.boot = 1;
  event.labels = 1;
  event::Object file;
  file.type = event::ObjectType::file;
  file.id = 1 + number / 100 % files;
  file.path = "/srv/secret/" + std::to_string(file.id % 300) + "/" + std::to_string(file.id);
  file.inode = 1000 + file.id;
  file.fs = "11111111-2222-3333-4444-555555555555";
  file.fs_type = "ext4";
  event::Object process;
  process.type = event::ObjectType::process;
  process.id = files + 1 + number / 2;
  process.process.pid = static_cast<uint32_t>(300 + number % 30'000);
  process.process.comm = "cat";
  process.process.exe = "/usr/bin/cat";
  if (number % 100 == 0) {
    event.kind = Kind::classified;
    event.object = std::move(file);
  } else if (number % 2 == 0) {
    event.kind = Kind::diffusion;
    event.from = std::move(file);
    event.object = std::move(process);
  } else {
    event.kind = Kind::exited;
    event.object = std::move(process);
  }
  return event;
}

bool make_journal(const std::string& directory, uint64_t events, uint64_t files) {
  store::LabelNames labels;
  if (!labels.add("plan") || !labels.save(directory)) return false;
  auto appender = store::Appender::open(directory);
  if (!appender) return false;
  for (uint64_t number = 1; number <= events; ++number) {
    appender->append(event_of(number, files), labels, "guest");
    if (number % 1000 == 0 && !appender->flush()) return false;
  }
  return appender->flush() && appender->sync();
}

long grown_mib(std::string_view key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(key)) return std::atol(line.c_str() + key.size()) / 1024;
  return 0;
}

// In a process of its own, for its memory.
bool start(const std::string& directory, const char* what) {
  std::fflush(stdout);
  const pid_t child = ::fork();
  if (child == 0) {
    const long before = grown_mib("VmRSS:");
    const std::clock_t cpu_before = std::clock();
    const auto begin = std::chrono::steady_clock::now();
    const auto journal = supervisor::JournalWriter::open(directory, "guest", {});
    const double took = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
    const double cpu = static_cast<double>(std::clock() - cpu_before) * 1000 / CLOCKS_PER_SEC;
    if (journal)
      std::printf("%-20s %9llu lines %9.1f ms (CPU: %.1f) %6ld MiB   %zu files\n", what,
                  static_cast<unsigned long long>((*journal)->lines_read()), took, cpu, grown_mib("VmHWM:") - before,
                  (*journal)->settings().files.size());
    else
      std::printf("%s: %s\n", what, journal.error().message.c_str());
    std::fflush(stdout);
    ::_exit(journal ? 0 : 1);
  }
  int status = 1;
  return child > 0 && ::waitpid(child, &status, 0) == child && status == 0;
}

}  // namespace

int main(int count, char** words) {
  uint64_t events = 1'000'000, files = 10'000;
  if ((count > 1 && !parse_number(words[1], events)) || (count > 2 && !parse_number(words[2], files)) || files == 0) {
    std::fprintf(stderr, "usage: journal_start [EVENTS [FILES]]\n");
    return 2;
  }
  char name[] = "/var/tmp/oboro-bench-XXXXXX";
  if (::mkdtemp(name) == nullptr) return 2;
  const std::string directory = name;
  bool good = make_journal(directory, events, files);
  if (good)
    std::printf("%llu events, %.0f MiB of journal\n", static_cast<unsigned long long>(events),
                static_cast<double>(std::filesystem::file_size(store::journal_path(directory))) / (1 << 20));
  good = good && start(directory, "without a checkpoint");  // and it leaves one
  good = good && start(directory, "with one");
  std::error_code ignored;
  std::filesystem::remove_all(directory, ignored);
  return good ? 0 : 1;
}
