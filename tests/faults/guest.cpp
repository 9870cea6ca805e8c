// What `oboro run` takes for QEMU in tests/faults: a guest without a machine. It gives the ring what a tracer would
// give it: files are classified, copied, renamed and removed, and their content leaves, in steps that are the same in
// each run. What it knows of labels is what its supervisor has told it at its start, as a tracer does. A killed run's
// next one goes on with the step that was not finished.
//
// FAULTS_GUEST="DIRECTORY LAST AT WHEN WHAT": steps up to LAST; at event AT of this run (0: none), WHEN it is on its
// way or in the ring (`before`, `after`), WHAT happens:
//   kill, term, hup      SIGKILL, SIGTERM, SIGHUP to the supervisor
//   kill-guest           SIGKILL to this process
//   kill-proxy           SIGKILL to each proxy
//   second               DIRECTORY/second is executed, and waited for
// DIRECTORY/step: how many steps are done. DIRECTORY/told: what the supervisor has said, and each event, before it is
// given to the ring and when it is there.

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fcntl.h>
#include <map>
#include <poll.h>
#include <string>
#include <unistd.h>
#include <vector>

#include "base/fd.h"
#include "event/codec.h"
#include "link/control.h"
#include "link/settings.h"
#include "link/start.h"
#include "stream/ring.h"
#include "stream/ring_writer.h"
#include "tests/faults/meanwhile.h"

namespace oboro::faults {
namespace {

using event::Event;
using event::Object;
using event::ObjectType;

constexpr int kFiles = 24, kSecrets = 6;  // the first ones are classified
constexpr uint8_t kUuidByte = 0x5a;
constexpr const char* kUuid = "5a5a5a5a-5a5a-5a5a-5a5a-5a5a5a5a5a5a";
constexpr int kStepsBetweenPauses = 12;
constexpr int kPatience = 60000;  // turns of a millisecond: more than a supervisor needs that tries a full disk again

volatile sig_atomic_t told_to_end = 0;

uint64_t mixed(uint64_t x) {  // splitmix64
  x += 0x9e3779b97f4a7c15;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return x ^ x >> 31;
}

struct File {
  uint32_t generation = 1;
  std::string path;
};

// One run of it.
class Guest {
 public:
  Guest(Plan plan, const link::Start& start, link::Settings settings, stream::RingWriter ring)
      : plan_(std::move(plan)),
        start_(start),
        settings_(std::move(settings)),
        ring_(std::move(ring)),
        told_(open((plan_.directory + "/told").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)),
        step_file_(open((plan_.directory + "/step").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)),
        seq_(settings_.first_seq),
        id_(settings_.first_id) {
    if (!told_ || !step_file_) fail("its directory cannot be written");
    for (int i = 0; i < kFiles; ++i) files_[i].path = first_path(i);
  }

  void run() {
    uint64_t done = 0;
    if (pread(step_file_.get(), &done, sizeof done, 0) != sizeof done) done = 0;
    for (step_ = 0; step_ < done; ++step_) take_step(true);
    tell_settings();
    Event armed;
    armed.set(event::Armed{"6.1.0-faults", "00", 1, true, 1});
    report(armed);
    (void)link::send(start_.control, link::MachineFound{});
    (void)link::send(start_.control, link::Armed{"6.1.0-faults", "00", 1, true, 1});
    while (step_ < plan_.last) {
      take_step(false);
      ++step_;
      if (pwrite(step_file_.get(), &step_, sizeof step_, 0) != sizeof step_) fail("step");
      answer();
      if (step_ % kStepsBetweenPauses == 0) wait_for_reader();
    }
    wait_for_reader();
  }

 private:
  static std::string first_path(int i) {
    return i < kSecrets ? "/srv/secret/plan" + std::to_string(i) : "/home/user/copy" + std::to_string(i);
  }
  static link::KnownFile unknown(int i, uint32_t generation) {
    link::KnownFile file;
    file.identity.uuid.fill(kUuidByte);
    file.identity.inode = static_cast<uint64_t>(1000 + i);
    file.identity.generation = generation;
    return file;
  }
  // What was said of the file at the start, and what this run has done since. None: it bears no labels.
  link::KnownFile* known(int i) {
    for (link::KnownFile& file : settings_.files)
      if (file.identity.hash() == unknown(i, files_[i].generation).identity.hash()) return &file;
    return nullptr;
  }

  void take_step(bool again) {
    const uint64_t dice = mixed(step_);
    const int a = static_cast<int>(dice >> 8) & 0xff, b = static_cast<int>(dice >> 16) & 0xff;
    switch (dice % 8) {
      case 0:
        if (!again) classify(a % kSecrets);
        break;
      case 1:
      case 2:
        if (!again) copy(a % kFiles, b % kFiles);
        break;
      case 3:
        rename(a % kFiles, again);
        break;
      case 4:
        remove(kSecrets + a % (kFiles - kSecrets), again);
        break;
      case 5:
        if (!again) leak(a % kFiles);
        break;
      default:
        if (!again) execute();
    }
  }

  void classify(int i) {
    const link::ClassifyRule& rule = settings_.rules.at(static_cast<size_t>(i) % settings_.rules.size());
    link::KnownFile* file = known(i);
    if (file != nullptr && (file->labels & rule.labels) == rule.labels) return;
    if (file == nullptr) file = &settings_.files.emplace_back(unknown(i, files_[i].generation));
    if (file->id == 0) file->id = id_++;
    file->labels |= rule.labels;
    Event event;
    event.set(event::Classified{rule.pattern});
    event.labels = rule.labels;
    event.object = described(i);
    report(event);
  }

  void copy(int from, int to) {
    const link::KnownFile* source = known(from);
    if (source == nullptr || from == to) return;
    const uint64_t labels = source->labels;
    const Object process = read_by_a_process(from);
    link::KnownFile* target = known(to);
    if (target == nullptr) target = &settings_.files.emplace_back(unknown(to, files_[to].generation));
    if (target->id == 0) target->id = id_++;
    const uint64_t gained = labels & ~target->labels;
    target->labels |= labels;
    if (gained != 0) diffuse(process, described(to), gained);
    end(process);
  }

  void leak(int i) {
    if (known(i) == nullptr) return;
    const Object process = read_by_a_process(i);
    Event event;
    event.set(event::Leak{});
    event.labels = known(i)->labels;
    event.from = process;
    event.object.type = ObjectType::socket;
    event.object.id = id_++;
    event.object.protocol = "tcp";
    event.object.remote = {"203.0.113.7", 443};
    event.verdict = event::Verdict::alert;
    report(event);
    end(process);
  }

  void rename(int i, bool again) {
    File& file = files_[i];
    const std::string old = file.path;
    file.path = first_path(i) + "." + std::to_string(step_);
    if (again || known(i) == nullptr) return;
    Event event;
    event.set(event::Renamed{old});
    event.labels = known(i)->labels;
    event.object = described(i);
    report(event);
  }

  void remove(int i, bool again) {
    Event event;
    event.set(event::Removed{});
    const link::KnownFile* file = known(i);
    if (!again && file != nullptr) {
      event.labels = file->labels;
      event.object = described(i);
      std::erase_if(settings_.files, [&](const link::KnownFile& each) { return &each == file; });
      report(event);
    }
    files_[i] = {files_[i].generation + 1, first_path(i)};
  }

  // A line that is long, and that nobody can compress well.
  void execute() {
    Event event;
    event.set(event::Exec{"/bin/sh"});
    event.object = process();
    for (uint64_t i = 0; i < 60; ++i) {
      std::string word;
      for (uint64_t part = 0; part < 4; ++part) word += std::to_string(mixed(step_ * 1000 + i * 4 + part));
      event.object.process.argv.push_back(word.substr(0, 64));
    }
    event.subject = event.object.process;
    report(event);
    end(event.object);
  }

  Object process() {
    Object object;
    object.type = ObjectType::process;
    object.id = id_++;
    object.process.pid = object.process.tid = static_cast<uint32_t>(1000 + step_);
    object.process.start_time_ns = step_;
    object.process.comm = "cp";
    return object;
  }
  Object read_by_a_process(int i) {
    const Object reader = process();
    diffuse(described(i), reader, known(i)->labels);
    return reader;
  }
  void diffuse(const Object& from, const Object& to, uint64_t labels) {
    Event event;
    event.set(event::Diffusion{});
    event.labels = labels;
    event.from = from;
    event.object = to;
    event.verdict = event::Verdict::allow;
    report(event);
  }
  void end(const Object& process) {
    Event event;
    event.set(event::Exited{});
    event.object = process;
    report(event);
  }
  Object described(int i) {
    const link::KnownFile* file = known(i);
    Object object;
    object.type = ObjectType::file;
    object.id = file->id;
    object.path = files_[i].path;
    object.inode = file->identity.inode;
    object.generation = file->identity.generation;
    object.fs = kUuid;
    object.fs_type = "ext4";
    return object;
  }

  void report(Event& event) {
    event.seq = seq_++;
    event.boot = settings_.boot;
    event.time_ns = settings_.boot * uint64_t{1'000'000'000'000} + event.seq;
    std::string line = std::to_string(event.seq) + " " + std::string(event::name(event.kind)) + " " +
                       std::to_string(event.object.id) + " " + std::to_string(static_cast<int>(event.object.type)) +
                       " " + std::to_string(event.labels) + " " + std::to_string(event.object.inode) + " " +
                       std::to_string(event.object.generation) + "\n";
    tell("try " + line);
    const bool now = ++events_ == plan_.at;
    if (now && !plan_.after)
      happen(
          plan_, [this] { answer(); }, [this] { return is_orphan(); });
    std::vector<std::byte> record;
    event::encode(event, record);
    if (!ring_.push(record) && !(ring_.wait_for_room(record.size(), kPatience) && ring_.push(record)))
      fail("the ring is full");
    tell("did " + std::to_string(event.seq) + "\n");
    if (now && plan_.after)
      happen(
          plan_, [this] { answer(); }, [this] { return is_orphan(); });
    if (told_to_end) _exit(0);
  }

  void tell(const std::string& line) {
    if (write(told_.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size())) fail("told");
  }
  void tell_settings() {
    tell("start " + std::to_string(settings_.first_seq) + " " + std::to_string(settings_.first_id) + " " +
         std::to_string(settings_.boot) + "\n");
    for (const link::KnownFile& file : settings_.files)
      tell("file " + std::to_string(file.id) + " " + std::to_string(file.labels) + " " +
           std::to_string(file.identity.inode) + " " + std::to_string(file.identity.generation) + "\n");
    tell("run " + std::to_string(step_) + "\n");
  }

  bool is_orphan() const {
    pollfd channel{start_.control, 0, 0};
    return poll(&channel, 1, 0) > 0;
  }
  // All requests can be granted.
  void answer() const {
    for (;;) {
      const Result<link::Message> message = link::receive(start_.commands, 0);
      if (!message) return;
      (void)link::send(start_.commands, link::Done{}, message->request);
    }
  }

  // So that the two processes meet at the same steps in each run, however fast each of them is.
  void wait_for_reader() const {
    for (int i = 0; i < kPatience / 20; ++i) {  // nobody takes what cannot be written
      uint64_t written = 0, taken = 0;
      constexpr auto kAt = offsetof(stream::format::WriterPage, position),
                     kTaken = offsetof(stream::format::ReaderPage, position);
      if (pread(start_.ring, &written, sizeof written, kAt) != sizeof written ||
          pread(start_.ring_read, &taken, sizeof taken, kTaken) != sizeof taken)
        fail("the ring cannot be read");
      answer();
      if (told_to_end) _exit(0);
      if (written == taken || is_orphan()) return;
      usleep(1000);
    }
  }

  const Plan plan_;
  const link::Start& start_;
  link::Settings settings_;
  stream::RingWriter ring_;
  UniqueFd told_, step_file_;
  std::map<int, File> files_;
  uint64_t seq_, id_, step_ = 0, events_ = 0;
};

int play(int argc, char** argv) {
  if (argc == 2 && std::string(argv[1]) == "--version") {
    puts("QEMU emulator version 11.1.0");
    return 0;
  }
  std::string words;
  for (int i = 1; i + 1 < argc; ++i)
    if (std::string(argv[i]) == "-plugin") words = argv[i + 1];
  const size_t comma = words.find(',');
  const char* variable = getenv("OBORO_KVM");  // of oboro-qemu
  if (comma == std::string::npos && variable == nullptr) fail("there is neither -plugin nor OBORO_KVM");
  const auto start = link::Start::parse(comma == std::string::npos ? variable : words.substr(comma + 1));
  if (!start) fail(start.error().message);
  start->keep_from_children();
  struct sigaction action {};
  action.sa_handler = [](int) { told_to_end = 1; };
  sigaction(SIGTERM, &action, nullptr);
  const auto text = link::map_whole(start->settings);
  if (!text) fail(text.error().message);
  auto settings = link::Settings::parse({reinterpret_cast<const char*>(text->data()), text->size()});
  if (!settings) fail(settings.error().message);
  auto ring = stream::RingWriter::attach({UniqueFd(dup(start->ring)), UniqueFd(dup(start->ring_read))});
  if (!ring) fail(ring.error().message);
  Guest(plan_of(getenv("FAULTS_GUEST")), *start, std::move(*settings), std::move(*ring)).run();
  return 0;
}

}  // namespace
}  // namespace oboro::faults

int main(int argc, char** argv) { return oboro::faults::play(argc, argv); }
