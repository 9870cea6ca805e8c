#include "event/detail.h"

#include <gtest/gtest.h>

namespace oboro::event {
namespace {

// The words of each kind, as journals from before the payloads have them, mean the same when they are read back.
TEST(Detail, OldWordsAreUnderstoodAndStaySame) {
  const std::pair<Kind, std::string_view> kOld[] = {
      {Kind::started, "engine tcg, QEMU 11.1.3"},
      {Kind::armed, "Linux 6.1.0-32-cloud-amd64, build ID 4f1c0a, 61 hooks, new profile, 212.080 ms"},
      {Kind::reset, "kexec"},
      {Kind::stopped, "the guest ended"},
      {Kind::classified, "/srv/secret/**"},
      {Kind::renamed, "/home/eve/work"},
      {Kind::incomplete, "a process could be mapped by io_uring workers"},
      {Kind::lost, "12 records"},
      {Kind::lost, "1 record: event record: unknown version at offset 1"},
      {Kind::lost, "1 or more records: the ring was damaged"},
      {Kind::hidden, "audit-logger: mkdir failed: File exists"},
      {Kind::hidden, "audit-logger: open for writing"},
      {Kind::warning, "the proxy of hidden service a has ended by signal 9: its calls fail from here on"},
      {Kind::refused, "refused because the result is incomplete: the table of managed objects is full"},
      {Kind::refused, "refused because it could not be traced"},
      {Kind::exec, "/usr/bin/bash"},
  };
  for (const auto& [kind, words] : kOld) {
    Event event;
    event.kind = kind;
    adopt_detail(event, words);
    EXPECT_EQ(detail(event), words);
  }
}

template <typename T>
T adopted(std::string_view words) {
  Event event;
  event.kind = T::kKind;
  adopt_detail(event, words);
  return event.as<T>();
}

TEST(Detail, OldWordsBecomeMembers) {
  const auto armed = adopted<Armed>("Linux 6.1.0, build ID 4f1c0a, 61 hooks, cached profile, 212.080 ms");
  EXPECT_EQ(armed.release, "6.1.0");
  EXPECT_EQ(armed.build_id, "4f1c0a");
  EXPECT_EQ(armed.hooks, 61u);
  EXPECT_TRUE(armed.cached);
  EXPECT_EQ(armed.took_us, 212'080u);
  EXPECT_EQ(adopted<Started>("engine tcg, QEMU 11.1.3").qemu, "11.1.3");
  const auto lost = adopted<Lost>("3 or more records: why");
  EXPECT_EQ(lost.count, 3u);
  EXPECT_TRUE(lost.at_least);
  EXPECT_EQ(lost.reason, "why");
  const auto hidden = adopted<Hidden>("log: rename from /a: b failed: File exists");
  EXPECT_EQ(hidden.service, "log");
  EXPECT_EQ(hidden.operation, "rename from /a: b");
  EXPECT_EQ(hidden.error, "File exists");
  const auto refused = adopted<Refused>("refused because the result is incomplete: full");
  EXPECT_TRUE(refused.incomplete);
  EXPECT_EQ(refused.reason, "full");
}

TEST(Detail, WhatAHiddenServiceDidIsFactsAndThenWords) {
  EXPECT_EQ(what_was_done({.operation = "open", .error = "Input/output error", .access = "writing"}),
            "open for writing failed: Input/output error");
  EXPECT_EQ(what_was_done({.operation = "rename", .other = "/a"}), "rename from /a");
  EXPECT_EQ(what_was_done({.operation = "symlink", .other = "/a"}), "symlink to /a");
  EXPECT_EQ(what_was_done({.operation = "close", .bytes_read = 1, .bytes_written = 2}),
            "close, 1 bytes read, 2 written");
  EXPECT_EQ(what_was_done({.operation = "mmap", .refused = true, .times = 16}),
            "mmap is not possible on what is hidden (16 times now)");
  EXPECT_EQ(what_was_done({.operation = "rename from /a: b"}), "rename from /a: b") << "as older journals have it";
}

TEST(Detail, OtherWordsAreKept) {
  EXPECT_EQ(adopted<Armed>("Linux 6.1, who knows").release, "Linux 6.1, who knows");
  EXPECT_EQ(adopted<Started>("something").engine, "something");
  EXPECT_EQ(adopted<Lost>("some").reason, "some");
  EXPECT_EQ(adopted<Hidden>("some").service, "some");
  EXPECT_EQ(adopted<Lost>("99999999999999999999999 records").count, 0u);
}

TEST(Detail, AnOldExecIsOfTheProcessAsItWas) {
  Event event;
  event.kind = Kind::exec;
  event.object.type = ObjectType::process;
  event.object.process.exe = "/usr/bin/bash";
  event.object.process.comm = "bash";
  event.object.path = "/usr/bin/a-name-of-more-than-15";
  adopt_detail(event, {});
  EXPECT_EQ(event.as<Exec>().previous, "/usr/bin/bash");
  EXPECT_EQ(event.object.process.exe, "/usr/bin/a-name-of-more-than-15");
  EXPECT_EQ(event.object.process.comm, "a-name-of-more-");
  EXPECT_EQ(event.object.path, "");
}

}  // namespace
}  // namespace oboro::event
