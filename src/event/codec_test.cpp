#include "event/codec.h"

#include <gtest/gtest.h>

namespace oboro::event {
namespace {

constexpr size_t kKindAt = 1 + 8 + 8 + 4;  // version, time, seq, boot

Event full_event() {
  Event event;
  event.seq = 0x1122334455667788;
  event.time_ns = 1795383956123456789;
  event.boot = 3;
  event.kind = Kind::leak;
  event.labels = 0x8000000000000001;
  event.syscall = "sendto";
  event.subject = {812, 813, 77, "curl", "/usr/bin/curl", "/user.slice"};
  event.subject.uid = 0;
  event.subject.user = "root";
  event.subject.login_user = "alice";
  event.subject.argv = {"curl", "", std::string("a\0b\xff", 4)};
  event.from.type = ObjectType::process;
  event.from.id = 4;
  event.from.process = event.subject;
  event.object.type = ObjectType::socket;
  event.object.id = 5;
  event.object.path = "/a";
  event.object.inode = 9;
  event.object.generation = 10;
  event.object.fs = "dev 0:23";
  event.object.fs_type = "ext4";
  event.object.protocol = "tcp";
  event.object.local = {"10.0.2.15", 40000};
  event.object.remote = {"10.0.2.2", 443};
  event.verdict = Verdict::deny;
  return event;
}

std::vector<std::byte> encoded(const Event& event) {
  std::vector<std::byte> out;
  encode(event, out);
  return out;
}

TEST(Codec, RoundTrip) {
  const auto bytes = encoded(full_event());
  const auto back = decode(bytes);
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(encoded(*back), bytes);
  EXPECT_EQ(back->seq, 0x1122334455667788u);
  EXPECT_EQ(back->object.remote.port, 443);
  EXPECT_EQ(back->from.process.exe, "/usr/bin/curl");
  EXPECT_EQ(back->subject.argv, full_event().subject.argv);
  EXPECT_EQ(back->subject.uid, 0u);
  EXPECT_EQ(back->subject.user, "root");
  EXPECT_EQ(back->subject.login_uid, kNoUser);
  EXPECT_EQ(back->subject.login_user, "alice");
  EXPECT_EQ(back->verdict, Verdict::deny);
}

// Every kind with every field of its payload set: all that the table lists comes across.
template <typename Payload>
Payload filled() {
  Payload payload;
  for_each_field(payload, [](auto, auto& member, const FieldInfo& info) {
    if constexpr (std::is_same_v<decltype(member), std::string&>)
      member = info.key;
    else
      member = 1;
  });
  return payload;
}

TEST(Codec, EveryPayloadComesBack) {
  for (size_t i = 0; i < static_cast<size_t>(Kind::count); ++i) {
    Event event;
    event.kind = static_cast<Kind>(i);
    fill_payload(event.data, event.kind, [](auto& payload) { payload = filled<std::decay_t<decltype(payload)>>(); });
    const auto back = decode(encoded(event));
    ASSERT_TRUE(back) << back.error().message;
    EXPECT_EQ(back->kind, event.kind);
    with_payload(*back, [&](const auto& payload) {
      for_each_field(payload, [&](auto, const auto& member, const FieldInfo& info) {
        if constexpr (std::is_same_v<decltype(member), const std::string&>)
          EXPECT_EQ(member, info.key) << name(event.kind);
        else
          EXPECT_EQ(member, 1) << name(event.kind) << " " << info.key;
      });
    });
  }
}

TEST(Codec, APayloadOfAnotherKindIsNone) {
  Event event;
  event.set(Renamed{"/a"});
  event.kind = Kind::classified;
  const auto back = decode(encoded(event));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->as<Classified>().pattern, "");
}

TEST(Codec, ArgumentsAreBounded) {
  Event event;
  event.subject.argv.assign(100, std::string(100, 'x'));
  const auto back = decode(encoded(event));
  ASSERT_TRUE(back) << back.error().message;
  size_t bytes = 0;
  for (const auto& one : back->subject.argv) bytes += one.size();
  EXPECT_EQ(bytes, kMaxArguments);
  event.subject.argv.assign(100, "x");
  EXPECT_EQ(decode(encoded(event))->subject.argv.size(), kMaxArgumentCount);
}

TEST(Codec, EmptyEvent) { EXPECT_TRUE(decode(encoded(Event{}))); }

TEST(Codec, EveryTruncationIsRefused) {
  const auto bytes = encoded(full_event());
  for (size_t size = 0; size < bytes.size(); ++size) {
    // A copy of exactly that size lets AddressSanitizer see a read past the end.
    const std::vector<std::byte> cut(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(size));
    const auto result = decode(cut);
    ASSERT_FALSE(result) << size;
    EXPECT_EQ(result.error().code, Errc::invalid);
    EXPECT_NE(result.error().message.find("offset"), std::string::npos);
  }
}

TEST(Codec, RefusesTrailingBytesVersionAndEnumerators) {
  auto bytes = encoded(full_event());
  bytes.push_back(std::byte{0});
  EXPECT_FALSE(decode(bytes));
  bytes.pop_back();
  for (const size_t at : {size_t{0}, kKindAt}) {
    auto bad = bytes;
    bad[at] = std::byte{0xee};
    EXPECT_FALSE(decode(bad)) << at;
  }
}

TEST(Codec, EveryByteFlippedNeverCrashes) {
  const auto bytes = encoded(full_event());
  for (size_t at = 0; at < bytes.size(); ++at) {
    auto bad = bytes;
    bad[at] ^= std::byte{0xff};
    (void)decode(bad);
  }
}

TEST(Codec, LongStringsAreCutAndFit) {
  Event event = full_event();
  const std::string huge(100'000, 'x');
  event.from.type = ObjectType::file;
  for (Subject* subject : {&event.subject, &event.from.process, &event.object.process}) {
    subject->comm = subject->exe = subject->cgroup = subject->unit = subject->container = huge;
    subject->user = subject->login_user = huge;
    subject->argv.assign(1000, std::string(4000, 'x'));
  }
  for (Object* object : {&event.from, &event.object}) {
    object->path = object->fs = object->fs_type = object->protocol = huge;
    object->local.address = object->remote.address = huge;
  }
  event.set(Renamed{huge});
  event.syscall = huge;
  const auto bytes = encoded(event);
  EXPECT_LE(bytes.size(), kMaxEncoded);
  const auto back = decode(bytes);
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(back->object.path.size(), kMaxPath);
}

TEST(Names, EveryEnumeratorHasANameThatParses) {
  for (size_t i = 0; i < static_cast<size_t>(Kind::count); ++i) {
    Kind kind = Kind::count;
    EXPECT_TRUE(parse(name(static_cast<Kind>(i)), kind));
    EXPECT_EQ(static_cast<size_t>(kind), i);
  }
  Kind kind = Kind::leak;
  EXPECT_FALSE(parse("nonsense", kind));
  EXPECT_EQ(kind, Kind::leak);
  EXPECT_EQ(name(Kind::count), "unknown");
  EXPECT_EQ(name(ObjectType::memory), "memory");
  EXPECT_EQ(name(Verdict::deny), "deny");
}

}  // namespace
}  // namespace oboro::event
