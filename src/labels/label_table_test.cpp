#include "labels/label_table.h"

#include <atomic>
#include <gtest/gtest.h>
#include <random>
#include <thread>
#include <unordered_map>

#include "labels/receivers.h"

namespace oboro::labels {
namespace {

Carrier inode(uint64_t n) { return {CarrierKind::inode, 0xffff888000000000 + n * 64}; }

TEST(LabelTable, AgreesWithAMapOverRandomOperations) {
  LabelTable table(500);
  std::unordered_map<uint64_t, uint64_t> model;
  std::mt19937_64 random(7);
  for (int i = 0; i < 200000; ++i) {
    const Carrier c = inode(random() % 600);
    switch (random() % 3) {
      case 0: {
        const uint64_t labels = (random() & 0xff) | 1;
        const bool fits = model.size() < 500 || model.count(c.key());
        ASSERT_EQ(table.set(c, {labels, 1}), fits);
        if (fits) model[c.key()] = labels;
        break;
      }
      case 1:
        ASSERT_EQ(table.erase(c), model.erase(c.key()) == 1);
        break;
      case 2:
        ASSERT_EQ(table.labels(c), model.count(c.key()) ? model[c.key()] : 0);
        break;
    }
    ASSERT_EQ(table.size(), model.size());
  }
}

TEST(LabelTable, GrowsAsItFills) {
  LabelTable table(100000, 16);
  std::unordered_map<uint64_t, uint64_t> model;
  std::mt19937_64 random(3);
  while (model.size() < 70000) {
    const Carrier c = inode(random() % 200000);
    if (random() % 8 == 0) {
      ASSERT_EQ(table.erase(c), model.erase(c.key()) == 1);
      continue;
    }
    ASSERT_TRUE(table.set(c, {(random() & 0xff) | 1, 1}));
    model[c.key()] = table.labels(c);
    ASSERT_EQ(table.size(), model.size());
  }
  EXPECT_GE(table.room(), 70000u);
  for (const auto& [key, labels] : model) ASSERT_EQ(table.labels(Carrier::from_key(key)), labels);
  size_t seen = 0;
  table.for_each([&](Carrier c, Entry entry) { seen += model.at(c.key()) == entry.labels; });
  EXPECT_EQ(seen, model.size());
  table.retain([](Carrier, Entry) { return false; });
  EXPECT_EQ(table.size(), 0u);
}

TEST(LabelTable, IsFullWhereItIsToldToBe) {
  LabelTable table(100, 32);
  for (uint64_t i = 0; i < 100; ++i) ASSERT_TRUE(table.set(inode(i), {1, i})) << i;
  EXPECT_FALSE(table.set(inode(100), {1, 100}));
  EXPECT_TRUE(table.set(inode(99), {2, 99}));
  for (uint64_t i = 0; i < 99; ++i) EXPECT_EQ(table.labels(inode(i)), 1u) << i;
}

TEST(LabelTable, RetainKeepsWhatIsAskedFor) {
  LabelTable table(1000);
  for (uint64_t i = 0; i < 1000; ++i)
    ASSERT_TRUE(table.set(i % 2 ? inode(i) : Carrier(CarrierKind::process, i + 1), {1, i}));
  table.retain([](Carrier c, Entry) { return c.kind() == CarrierKind::inode; });
  EXPECT_EQ(table.size(), 500u);
  for (uint64_t i = 0; i < 1000; ++i) EXPECT_EQ(table.labels(inode(i)) != 0, i % 2 == 1);
}

TEST(LabelTable, KindsDoNotMix) {
  LabelTable table(10);
  ASSERT_TRUE(table.set({CarrierKind::process, 42}, {1, 1}));
  EXPECT_EQ(table.labels({CarrierKind::inode, 42}), 0u);
}

// A reader must find an entry that is never erased, however much others come and go around it.
TEST(LabelTable, ReadersNeverMissAStableEntry) {
  LabelTable table(256);
  for (uint64_t i = 0; i < 100; ++i) ASSERT_TRUE(table.set(inode(i), {i + 1, i}));
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> misses{0};
  std::thread reader([&] {
    while (!stop)
      for (uint64_t i = 0; i < 100; ++i)
        if (table.labels(inode(i)) != i + 1) ++misses;
  });
  std::mt19937_64 random(1);
  for (int i = 0; i < 100000; ++i) {
    const Carrier c = inode(100 + random() % 100);
    if (random() & 1)
      (void)table.set(c, {7, 7});
    else
      (void)table.erase(c);
  }
  stop = true;
  reader.join();
  EXPECT_EQ(misses, 0u);
}

TEST(LabelTable, ReadersNeverMissAStableEntryWhileItGrows) {
  for (int round = 0; round < 20; ++round) {
    LabelTable table(1 << 20, 64);
    for (uint64_t i = 0; i < 60; ++i) ASSERT_TRUE(table.set(inode(i), {i + 1, i}));
    std::atomic<bool> reading{false}, stop{false};
    std::atomic<uint64_t> misses{0};
    std::thread reader([&] {
      while (!stop) {
        for (uint64_t i = 0; i < 60; ++i)
          if (table.labels(inode(i)) != i + 1) ++misses;
        reading = true;
      }
    });
    while (!reading) std::this_thread::yield();
    for (uint64_t i = 60; i < 40000; ++i) ASSERT_TRUE(table.set(inode(i), {7, 7}));
    stop = true;
    reader.join();
    EXPECT_EQ(misses, 0u);
  }
}

// The promise of Receivers: if a sender and a receiver race, one sees the other.
TEST(Receivers, SenderOrReceiverSeesTheOther) {
  const Carrier carrier(CarrierKind::socket, 0x1234);
  int missed = 0;
  for (int round = 0; round < 300; ++round) {
    LabelTable table(16);
    static Receivers receivers;
    receivers.clear();
    std::atomic<int> gate{0};
    bool receiver_saw = false, sender_saw = false;
    std::thread receiver([&] {
      ++gate;
      while (gate < 2) std::this_thread::yield();
      (void)receivers.remember(carrier, 99, [](uint64_t) { return true; });
      receiver_saw = table.labels(carrier) != 0;
    });
    ++gate;
    while (gate < 2) std::this_thread::yield();
    (void)table.set(carrier, {1, 1});
    receivers.for_each(carrier, [&](uint64_t task) { sender_saw |= task == 99; });
    receiver.join();
    if (!receiver_saw && !sender_saw) ++missed;
  }
  EXPECT_EQ(missed, 0);
}

// Task structures are aligned to 64 bytes at least.
constexpr uint64_t kTask = 0xffff888100000000;

TEST(Receivers, ATaskWaitsForOneThingAtATime) {
  Receivers receivers;
  const Carrier first(CarrierKind::pipe, 0x1000), second(CarrierKind::socket, 0x2000);
  const auto waiting = [&](Carrier carrier) {
    std::vector<uint64_t> tasks;
    receivers.for_each(carrier, [&](uint64_t task) { tasks.push_back(task); });
    return tasks;
  };
  EXPECT_TRUE(receivers.remember(first, kTask, [](uint64_t) { return true; }));
  EXPECT_TRUE(receivers.remember(first, kTask + 64, [](uint64_t) { return true; }));
  EXPECT_EQ(waiting(first).size(), 2u);
  EXPECT_TRUE(receivers.remember(second, kTask, [](uint64_t) { return true; }));
  EXPECT_EQ(waiting(first), std::vector<uint64_t>{kTask + 64});
  EXPECT_EQ(waiting(second), std::vector<uint64_t>{kTask});
  EXPECT_TRUE(receivers.remember(first, kTask, [](uint64_t) { return true; })) << "the note is there already";
  EXPECT_EQ(waiting(first).size(), 2u);
  EXPECT_TRUE(waiting(second).empty());
  receivers.forget(first);
  EXPECT_TRUE(waiting(first).empty());
}

TEST(Receivers, FullSetOfLiveReceiversIsReported) {
  Receivers receivers;
  const Carrier c(CarrierKind::pipe, 5);
  const auto live = [](uint64_t) { return true; };
  const auto gone = [](uint64_t) { return false; };
  for (uint64_t task = 1; task <= 8; ++task) EXPECT_TRUE(receivers.remember(c, kTask + 64 * task, live));
  EXPECT_FALSE(receivers.remember(c, kTask + 64 * 9, live));
  EXPECT_TRUE(receivers.remember(c, kTask + 64 * 3, live));
  EXPECT_TRUE(receivers.remember(c, kTask + 64 * 9, gone));
}

}  // namespace
}  // namespace oboro::labels
