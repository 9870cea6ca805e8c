// Reading and writing guest RAM that is mapped, RAM that the engine is asked for, and RAM that is both in parts.

#include "engine/physical_memory.h"

#include <gtest/gtest.h>
#include <latch>
#include <string>
#include <thread>
#include <vector>

#include "engine/physical_writer.h"
#include "tests/support/engine/fake_memory.h"

namespace oboro::engine {
namespace {

using fake::FakeMemory;
using fake::kPageSize;
using Page = FakeMemory::Page;

constexpr uint64_t kPages = 16;

class Ram : public testing::Test {
 protected:
  Ram() {
    for (size_t i = 0; i < memory.bytes().size(); ++i) memory.bytes()[i] = static_cast<std::byte>(i % 251);
  }
  void set(uint64_t page, Page what) { memory.set(Gpa(page * kPageSize), what); }
  // Whether exactly these bytes are read there.
  bool reads(uint64_t at, size_t size) {
    std::vector<std::byte> out(size);
    if (!memory.ram().read(Gpa(at), out.data(), size)) return false;
    EXPECT_EQ(std::memcmp(out.data(), memory.bytes().data() + at, size), 0) << at << ", " << size;
    return true;
  }
  bool write(uint64_t at, std::string_view text) { return writer.write(Gpa(at), std::as_bytes(std::span(text))); }
  std::string text(uint64_t at, size_t size) {
    return {reinterpret_cast<const char*>(memory.bytes().data()) + at, size};
  }
  uint64_t& word(uint64_t at) { return *reinterpret_cast<uint64_t*>(memory.bytes().data() + at); }

  FakeMemory memory{kPages * kPageSize};
  PhysicalWriter writer{memory.ram()};
};

TEST_F(Ram, TheEngineIsAskedForWhatIsNotMappedAndForNothingElse) {
  set(3, Page::remote);
  EXPECT_TRUE(reads(2 * kPageSize, kPageSize));
  EXPECT_TRUE(reads(4 * kPageSize, kPageSize));
  EXPECT_EQ(memory.asked(), 0u);
  EXPECT_TRUE(reads(3 * kPageSize + 8, 8));
  EXPECT_EQ(memory.asked(), 1u);
}

TEST_F(Ram, ReadsGoOverEveryBorder) {
  set(3, Page::remote);
  set(4, Page::remote);
  set(6, Page::rom);
  for (uint64_t page = 1; page < kPages; ++page)
    for (const uint64_t before : {uint64_t{1}, uint64_t{4}, uint64_t{7}})
      EXPECT_TRUE(reads(page * kPageSize - before, 8)) << page << ", " << before;
  EXPECT_TRUE(reads(100, kPages * kPageSize - 200)) << "all kinds at once";
}

TEST_F(Ram, WhatIsNoRamIsNotRead) {
  for (const Page beside : {Page::mapped, Page::remote}) {
    set(4, beside);
    set(5, Page::hidden);
    EXPECT_FALSE(reads(5 * kPageSize - 4, 8));
    EXPECT_FALSE(reads(5 * kPageSize, 8));
    EXPECT_FALSE(reads(6 * kPageSize - 4, 8));
    std::byte out[100];
    EXPECT_EQ(memory.ram().read_some(Gpa(5 * kPageSize - 60), out), 60u);
    EXPECT_EQ(std::memcmp(out, memory.bytes().data() + 5 * kPageSize - 60, 60), 0);
    EXPECT_EQ(memory.ram().read_some(Gpa(5 * kPageSize), out), 0u);
  }
  EXPECT_FALSE(reads(kPages * kPageSize - 4, 8));
  std::byte out[8];
  for (const uint64_t far : {kPages * kPageSize, uint64_t{1} << 52, UINT64_MAX - 3, UINT64_MAX})
    EXPECT_FALSE(memory.ram().read(Gpa(far), out, sizeof out)) << far << ": not what is at 0";
  const unsigned asked = memory.asked();
  EXPECT_EQ(memory.ram().read_u64(Gpa(5 * kPageSize)), std::nullopt);
  EXPECT_EQ(memory.asked(), asked) << "nobody is asked for what is no RAM";
}

TEST_F(Ram, WithoutTheEnginesHelpOnlyWhatIsMappedIsThere) {
  PhysicalMemory ram;
  const auto page = memory.bytes().first(kPageSize);
  ASSERT_TRUE(ram.add({.start = 0, .mapped = page}));
  ASSERT_TRUE(ram.add({.start = kPageSize, .unmapped = kPageSize}));
  EXPECT_FALSE(ram.add({.start = kPageSize - 1, .mapped = page})) << "they overlap";
  EXPECT_FALSE(ram.add({.start = 2 * kPageSize - 1, .mapped = page})) << "likewise, with what is not mapped";
  EXPECT_FALSE(ram.add({.start = UINT64_MAX - 8, .mapped = page})) << "it wraps";
  EXPECT_FALSE(ram.add({.start = kPageSize * 2})) << "it is empty";
  EXPECT_FALSE(ram.add({.start = kPageSize * 2, .mapped = page, .unmapped = 1})) << "it is both";
  EXPECT_EQ(ram.end(), 2 * kPageSize) << "what is not mapped is RAM";
  EXPECT_TRUE(ram.read_u64(Gpa(0)));
  EXPECT_FALSE(ram.read_u64(Gpa(kPageSize - 1)));
  EXPECT_FALSE(ram.read_u64(Gpa(kPageSize)));
  const PhysicalWriter to(ram);
  EXPECT_TRUE(to.may_write(Gpa(0), kPageSize));
  EXPECT_FALSE(to.may_write(Gpa(0), kPageSize + 1));
  EXPECT_FALSE(to.set_bits(Gpa(kPageSize), 1));
  EXPECT_FALSE(to.compare_exchange(Gpa(kPageSize), 0, 1));
}

TEST_F(Ram, WhatIsWrittenIsThere) {
  set(3, Page::remote);
  set(4, Page::remote);
  for (uint64_t page = 2; page < 7; ++page) {
    EXPECT_TRUE(write(page * kPageSize - 3, "abcdef")) << page;
    EXPECT_EQ(text(page * kPageSize - 3, 6), "abcdef") << page;
  }
  const std::string large(3 * kPageSize, 'x');
  EXPECT_TRUE(write(2 * kPageSize + 5, large));
  EXPECT_EQ(text(2 * kPageSize + 5, large.size()), large);
}

// Nothing is written, not even the bytes in front of those that may not be.
TEST_F(Ram, WhatMayNotBeWrittenIsRefusedAsAWhole) {
  for (const Page beside : {Page::mapped, Page::remote})
    for (const Page not_to_be_written : {Page::rom, Page::hidden}) {
      set(4, beside);
      set(5, not_to_be_written);
      set(6, beside);
      for (const uint64_t at : {5 * kPageSize - 3, 5 * kPageSize, 6 * kPageSize - 3}) {
        const std::string before = text(at, 6);
        EXPECT_FALSE(writer.may_write(Gpa(at), 6)) << at;
        EXPECT_FALSE(write(at, "abcdef")) << at;
        EXPECT_EQ(text(at, 6), before) << at;
      }
      const uint64_t at = 5 * kPageSize + 8, before = word(at);
      EXPECT_FALSE(writer.set_bits(Gpa(at), ~uint64_t{0}));
      EXPECT_FALSE(writer.clear_bits(Gpa(at), ~uint64_t{0}));
      EXPECT_FALSE(writer.compare_exchange(Gpa(at), before, 1));
      EXPECT_EQ(word(at), before);
    }
  EXPECT_FALSE(write(kPages * kPageSize - 3, "abcdef"));
  EXPECT_FALSE(write(UINT64_MAX - 2, "abcdef"));
}

TEST_F(Ram, WordsAreChangedBitByBitOrIfTheyAreWhatTheyWere) {
  for (const Page what : {Page::mapped, Page::remote}) {
    set(3, what);
    const uint64_t at = 3 * kPageSize + 16;
    word(at) = 0xf0;
    EXPECT_TRUE(writer.set_bits(Gpa(at), 0x0f));
    EXPECT_EQ(word(at), 0xffu);
    EXPECT_TRUE(writer.clear_bits(Gpa(at), 0x3c));
    EXPECT_EQ(word(at), 0xc3u);
    EXPECT_FALSE(writer.compare_exchange(Gpa(at), 0xc2, 1));
    EXPECT_EQ(word(at), 0xc3u);
    EXPECT_TRUE(writer.compare_exchange(Gpa(at), 0xc3, 1));
    EXPECT_EQ(word(at), 1u);
    for (const uint64_t wrong : {uint64_t{1}, uint64_t{4}, uint64_t{7}}) {
      EXPECT_FALSE(writer.set_bits(Gpa(at + wrong), 1)) << "not aligned";
      EXPECT_FALSE(writer.clear_bits(Gpa(at + wrong), 1));
      EXPECT_FALSE(writer.compare_exchange(Gpa(at + wrong), 0, 1));
    }
  }
}

// As a vCPU does meanwhile: a change by one is not lost by another's.
TEST_F(Ram, ChangesOfAWordAreNotLost) {
  constexpr unsigned kThreads = 4, kTimes = 200000;
  for (const Page what : {Page::mapped, Page::remote}) {
    set(3, what);
    const Gpa at(3 * kPageSize);
    word(at.value) = 0;
    std::vector<std::thread> threads;
    std::latch together(kThreads);
    for (unsigned thread = 0; thread < kThreads; ++thread)
      threads.emplace_back([&, bit = uint64_t{1} << thread] {
        together.arrive_and_wait();
        unsigned kept = 0;
        for (unsigned i = 0; i < kTimes; ++i) {
          kept += writer.set_bits(at, bit) && (std::atomic_ref(word(at.value)).load() & bit);
          kept += writer.clear_bits(at, bit) && !(std::atomic_ref(word(at.value)).load() & bit);
        }
        EXPECT_EQ(kept, 2 * kTimes);
      });
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(word(at.value), 0u);
  }
}

// A word that never stays as it was is given up in the end.
TEST_F(Ram, AHostileWordDoesNotHoldUsUp) {
  struct Restless final : MemoryAccess {
    size_t read(Gpa, std::span<std::byte> out) override {
      std::memset(out.data(), 0, out.size());
      return out.size();
    }
    size_t write(Gpa, std::span<const std::byte>) override { return 0; }
    std::optional<uint64_t> compare_exchange(Gpa, uint64_t expected, uint64_t) override {
      ++tries;
      return expected + 1;
    }
    unsigned tries = 0;
  } restless;
  PhysicalMemory ram(&restless);
  ASSERT_TRUE(ram.add({.start = 0, .unmapped = kPageSize}));
  EXPECT_FALSE(PhysicalWriter(ram).set_bits(Gpa(8), 1));
  EXPECT_GT(restless.tries, 1u);
  EXPECT_FALSE(PhysicalWriter(ram).write(Gpa(8), std::as_bytes(std::span("abc", 3)))) << "it writes nothing";
}

}  // namespace
}  // namespace oboro::engine
