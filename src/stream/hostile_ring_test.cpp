// A ring whose writer is in the hands of its guest: it may write anything into its file, and cut the file off. The
// reader goes on without a signal and without an end, and whatever is missing from the journal is told there.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <optional>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "event/codec.h"
#include "store/journal/reader.h"
#include "stream/reader.h"
#include "stream/recorder.h"
#include "stream/ring_writer.h"
#include "tests/support/store/testing.h"

namespace oboro::stream {
namespace {

using event::Event;
using event::Kind;
using Next = RingReader::Next;
using store::testing::TempDirectory;

constexpr size_t kCapacity = 4096;
constexpr off_t kWriterPosition = 64, kData = 4096;

class HostileRing : public testing::Test {
 protected:
  HostileRing() {
    auto made = RingReader::create(path_, kCapacity);
    EXPECT_TRUE(made) << made.error().message;
    reader_.emplace(std::move(*made));
    auto opened = RingWriter::open(path_);
    EXPECT_TRUE(opened);
    writer_.emplace(std::move(*opened));
    start_journal();
  }
  void start_journal() {
    auto opened = store::Appender::open(directory_.path());
    EXPECT_TRUE(opened);
    appender_.emplace(std::move(*opened));
    recorder_.emplace(*appender_, kNoLabels, "vm");
  }
  void poke(off_t offset, uint64_t value, size_t size = 8) {
    const UniqueFd fd(::open(path_.c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_EQ(::pwrite(fd.get(), &value, size, offset), static_cast<ssize_t>(size));
  }
  void cut(off_t size) { ASSERT_EQ(::truncate(path_.c_str(), size), 0); }
  void push(uint64_t seq) {
    Event event = events_.make(Kind::warning);
    event.seq = seq;
    std::vector<std::byte> bytes;
    encode(event, bytes);
    ASSERT_TRUE(writer_->push(bytes));
  }
  Pumped pump() {
    const auto pumped = recorder_->pump(*reader_);
    EXPECT_TRUE(pumped) << pumped.error().message;
    return pumped ? *pumped : Pumped{};
  }
  // The numbers of the warnings in the journal; lost_ and words_ of what it calls lost.
  std::vector<uint64_t> journaled() {
    std::vector<uint64_t> numbers;
    lost_ = 0;
    words_.clear();
    auto reader = store::JournalReader::open(directory_.path());
    EXPECT_TRUE(reader);
    Event event;
    store::LabelNames labels;
    while (*reader->next(event, labels)) {
      if (event.kind == Kind::lost) {
        lost_ += event.as<event::Lost>().count;
        words_ += event.as<event::Lost>().reason + "; ";
      } else {
        numbers.push_back(event.seq);
      }
    }
    return numbers;
  }

  using Numbers = std::vector<uint64_t>;
  const store::LabelNames kNoLabels{};
  TempDirectory directory_;
  const std::string path_ = ring_path(directory_.path());
  store::testing::Events events_;
  std::optional<RingReader> reader_;
  std::optional<RingWriter> writer_;
  std::optional<store::Appender> appender_;
  std::optional<Recorder> recorder_;
  uint64_t lost_ = 0;
  std::string words_;
};

TEST_F(HostileRing, AFileThatIsCutShortIsAnErrorAndNoSignal) {
  for (const off_t size : {off_t{0}, off_t{70}, kData, kData + 20}) {
    SCOPED_TRACE(size);
    reader_.reset();
    auto made = RingReader::create(path_, kCapacity);
    ASSERT_TRUE(made);
    reader_.emplace(std::move(*made));
    writer_.emplace(std::move(*RingWriter::open(path_)));
    push(1);
    cut(size);
    std::span<const std::byte> record;
    EXPECT_EQ(reader_->next(record), Next::damaged);
    EXPECT_NE(reader_->damage().find("cut short"), std::string::npos) << reader_->damage();
    for (int i = 0; i < 3; ++i) EXPECT_EQ(reader_->next(record), Next::nothing) << "told once";
    reader_->take();
    reader_->wait_for_record(1);
    EXPECT_EQ(reader_->counters().records, 0u);
    auto onlooker = RingReader::look(path_);
    EXPECT_TRUE(!onlooker || onlooker->next(record) != Next::record);
  }
}

TEST_F(HostileRing, WhatIsLostByACutIsToldInTheJournal) {
  push(1);
  pump();
  push(2);
  cut(100);
  EXPECT_EQ(pump().damaged, 1u);
  EXPECT_EQ(pump().damaged, 0u);
  EXPECT_EQ(journaled(), Numbers{1});
  EXPECT_EQ(lost_, 1u);
  EXPECT_NE(words_.find("the ring was damaged: its file was cut short"), std::string::npos) << words_;
}

TEST_F(HostileRing, ACutRingOfAKilledRunIsSetAside) {
  push(1);
  reader_.reset();
  cut(kData + 100);
  const auto drained = drain_ring(directory_.path(), *appender_, kNoLabels, "vm");
  ASSERT_TRUE(drained) << drained.error().message;
  EXPECT_EQ(drained->damaged, 1u);
  EXPECT_EQ(::access((path_ + ".damaged").c_str(), F_OK), 0);
  journaled();
  EXPECT_EQ(lost_, 1u);
}

// A number that is far ahead must not make others look like repetitions: now, or in the next run.
TEST_F(HostileRing, AForgedNumberHidesNoRecord) {
  for (const uint64_t seq : {uint64_t{1}, ~uint64_t{0}, uint64_t{2}, uint64_t{1}, uint64_t{0}, uint64_t{3}}) push(seq);
  EXPECT_EQ(pump().unnumbered, 3u);
  EXPECT_EQ(journaled(), (Numbers{1, 0, 2, 0, 0, 3}));
  EXPECT_EQ(lost_, 3u);
  EXPECT_EQ(appender_->last_seq(), 3u) << "the next run goes on from here";
}

TEST_F(HostileRing, AForgedNumberHidesNoRecordFromTheNextRun) {
  push(1);
  push(2 + (uint64_t{1} << 31));  // it can be right
  pump();
  EXPECT_EQ(journaled().back(), 2 + (uint64_t{1} << 31));
  push(2);
  push(3);
  reader_.reset();
  Reader onlooker = std::move(*Reader::open(directory_.path()));
  int seen = 0;
  for (Event event; *onlooker.next(event); ++seen) continue;
  EXPECT_EQ(seen, 4) << "a reader is shown what is still in the ring";
  const auto drained = drain_ring(directory_.path(), *appender_, kNoLabels, "vm");
  ASSERT_TRUE(drained);
  EXPECT_EQ(drained->duplicates, 0u);
  EXPECT_EQ(drained->written, 2u);
  journaled();
  EXPECT_EQ(lost_, 2u);
}

TEST_F(HostileRing, AForgedNumberHidesNoRecordWhileTheDiskIsFull) {
  struct sigaction ignore {
  }, before{};
  ignore.sa_handler = SIG_IGN;
  ::sigaction(SIGXFSZ, &ignore, &before);
  rlimit room{};
  ::getrlimit(RLIMIT_FSIZE, &room);
  const rlimit none{1, room.rlim_max};
  push(1);
  push(1 + (uint64_t{1} << 31));
  ::setrlimit(RLIMIT_FSIZE, &none);
  EXPECT_FALSE(recorder_->pump(*reader_));
  push(2);
  EXPECT_FALSE(recorder_->pump(*reader_));
  ::setrlimit(RLIMIT_FSIZE, &room);
  ::sigaction(SIGXFSZ, &before, nullptr);
  pump();
  std::vector<uint64_t> numbers = journaled();
  EXPECT_EQ(std::erase(numbers, 0), 2) << "the record, and the note about the disk";
  EXPECT_EQ(numbers, (Numbers{1, 1 + (uint64_t{1} << 31)}));
  EXPECT_EQ(lost_, 1u);
}

TEST_F(HostileRing, PositionsThatMakeNoSenseAreDamage) {
  for (const uint64_t position : {uint64_t{1}, uint64_t{13}, uint64_t{4095}, uint64_t{1} << 40, ~uint64_t{0}}) {
    push(1);
    poke(kWriterPosition, position);
    std::span<const std::byte> record;
    EXPECT_EQ(reader_->next(record), Next::damaged) << position;
    EXPECT_EQ(reader_->next(record), Next::nothing) << position;
    reader_->take();
    poke(kWriterPosition, 0);
    EXPECT_EQ(reader_->next(record), Next::damaged) << "it went back";
    reader_->take();
  }
}

TEST_F(HostileRing, APositionFarBehindDoesNotKeepAnOnlooker) {
  auto onlooker = RingReader::look(path_);
  ASSERT_TRUE(onlooker);
  poke(kWriterPosition, ~uint64_t{0} - 7);
  std::span<const std::byte> record;
  EXPECT_EQ(onlooker->next(record), Next::damaged);
  EXPECT_EQ(onlooker->next(record), Next::nothing);
}

TEST_F(HostileRing, TheReadersPositionIsItsOwn) {
  for (uint64_t seq = 1; seq <= 5; ++seq) push(seq);
  uint64_t written = 0;
  const UniqueFd fd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_EQ(::pread(fd.get(), &written, sizeof written, kWriterPosition), 8);
  for (off_t at = kWriterPosition + 8; at < kData; at += 8) poke(at, written);  // all that the writer can write
  EXPECT_EQ(pump().written, 5u);
  EXPECT_EQ(journaled(), (Numbers{1, 2, 3, 4, 5}));
  EXPECT_EQ(lost_, 0u);
}

TEST_F(HostileRing, DamagedRecordsAreToldOnceAndReadingGoesOn) {
  for (const auto& [at, value] :
       {std::pair(0, 0x7fffff77u), std::pair(0, 0xffffffffu), std::pair(4, 1u), std::pair(20, 1u)}) {
    const uint64_t begin = reader_->position();
    push(1);
    push(2);
    poke(kData + static_cast<off_t>(begin % kCapacity) + at, value, 4);
    std::span<const std::byte> record;
    EXPECT_EQ(reader_->next(record), Next::damaged) << at;
    EXPECT_EQ(reader_->next(record), Next::nothing) << at;
    reader_->take();
    push(3);
    EXPECT_EQ(reader_->next(record), Next::record) << at << reader_->damage();
    EXPECT_EQ(event::decode(record)->seq, 3u);
    reader_->take();
  }
}

TEST_F(HostileRing, WrapMarkersAloneDoNotLoop) {
  push(1);
  for (int at = 0; at < 4096; at += 8) poke(kData + at, ~uint64_t{0});
  std::span<const std::byte> record;
  EXPECT_EQ(reader_->next(record), Next::damaged);
}

// A writer that is always a whole ring ahead, with the same records again and again.
TEST_F(HostileRing, OnePumpTakesNoMoreThanTheRingHolds) {
  const std::vector<std::byte> no_event(24);
  while (writer_->push(no_event)) continue;
  int told = 0;
  Recorder recorder(*appender_, kNoLabels, "vm", [&](const Event&) {
    if (++told < 1000) poke(kWriterPosition, reader_->position() + kCapacity);
  });
  const auto pumped = recorder.pump(*reader_);
  ASSERT_TRUE(pumped);
  EXPECT_EQ(pumped->damaged, kCapacity / 32);
}

TEST_F(HostileRing, WakeUpsWithoutARecordDoNotKeepTheReaderBusy) {
  push(1);
  pump();
  const auto slept = [] {
    rusage usage{};
    ::getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nvcsw;
  };
  const long before = slept();
  for (uint32_t i = 0; i < 5; ++i) reader_->wait_for_record(1);
  cut(0);
  std::span<const std::byte> record;
  EXPECT_EQ(reader_->next(record), Next::damaged);
  for (uint32_t i = 0; i < 5; ++i) reader_->wait_for_record(1);
  EXPECT_GE(slept() - before, 10) << "each wait sleeps";
}

}  // namespace
}  // namespace oboro::stream
