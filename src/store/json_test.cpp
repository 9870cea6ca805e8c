#include "store/json.h"

#include <fstream>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/support/store/testing.h"

namespace oboro::store {
namespace {

using event::Event;
using event::Kind;

LabelNames two_labels() {
  LabelNames labels;
  EXPECT_TRUE(labels.add("plan"));
  EXPECT_TRUE(labels.add("hr"));
  return labels;
}

std::string line_of(const Event& event) {
  std::string out;
  write_event(event, two_labels(), "demo", out);
  return out;
}

Event full_event() {
  testing::Events events;
  Event event = events.make(Kind::leak, testing::socket(5), testing::process(4, 812, "curl"), 3);
  event.syscall = "sendto";
  event.subject = {812, 813, 5, "curl", "/usr/bin/curl", "/user.slice"};
  event.verdict = event::Verdict::alert;
  event.subject.uid = 0;
  event.subject.user = "root";
  event.subject.login_uid = 1000;
  event.subject.login_user =
      "al\xc3\xac"
      "ce";
  event.subject.argv = {"curl", "-s", "\xff"};
  return event;
}

TEST(Json, Schema) {
  EXPECT_EQ(
      line_of(full_event()),
      R"({"time":"2026-11-22T21:45:56.001000000Z","seq":1,"vm":"demo","boot":1,"kind":"leak",)"
      R"("labels":["plan","hr"],"syscall":"sendto","subject":{"pid":812,"tid":813,"start":5,"comm":"curl",)"
      R"("exe":"/usr/bin/curl","cgroup":"/user.slice","uid":0,"user":"root","login_uid":1000,"login_user":"alìce","argv":["curl","-s","\u0000\u00ff"]},"from":{"type":"process","id":"p4","pid":812,"tid":812,)"
      R"("start":5000000004,"comm":"curl","exe":"/usr/bin/curl"},"object":{"type":"socket","id":"s5",)"
      R"("protocol":"tcp","local":{"address":"10.0.2.15","port":40000},)"
      R"("remote":{"address":"10.0.2.2","port":443}},"verdict":"alert"})");
}

TEST(Json, RoundTrip) {
  LabelNames labels = two_labels();
  std::string vm;
  Event event = full_event();
  event.from = testing::file(9, "/srv/secret/a");
  const std::string line = line_of(event);
  auto back = read_event(line, labels, &vm);
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(line_of(*back), line);
  EXPECT_EQ(vm, "demo");
  EXPECT_EQ(back->labels, 3u);
  EXPECT_EQ(back->from.generation, 7u);
}

std::string both_ways(std::string_view members) {
  LabelNames labels;
  const auto event = read_event("{\"time\":\"2026-11-22T21:45:56.000000001Z\"," + std::string(members) + "}", labels);
  if (!event) return event.error().message;
  std::string out;
  write_event(*event, labels, {}, out);
  return out.substr(out.find(",\"kind") + 1);
}

TEST(Json, PayloadAndItsWords) {
  const std::string line =
      R"("kind":"armed","armed":{"release":"6.1","build_id":"4f","hooks":61,"cached":true,"took_us":212480},)"
      R"("detail":"Linux 6.1, build ID 4f, 61 hooks, cached profile, 212.480 ms"})";
  EXPECT_EQ(both_ways(line.substr(0, line.size() - 1)), line);
  EXPECT_EQ(both_ways(R"("kind":"armed","detail":"Linux 6.1, build ID 4f, 61 hooks, cached profile, 212.480 ms")"),
            line)
      << "an old journal";
}

TEST(Json, WordsAreNotReadWhereThereIsAPayload) {
  EXPECT_EQ(both_ways(R"("kind":"lost","lost":{"count":2},"detail":"77 records")"),
            R"("kind":"lost","lost":{"count":2},"detail":"2 records"})");
  EXPECT_EQ(both_ways(R"("lost":{"count":2},"kind":"lost")"),
            R"("kind":"lost","lost":{"count":2},"detail":"2 records"})");
  EXPECT_EQ(both_ways(R"("kind":"lost","warning":{"text":"x"},"detail":"77 records")"),
            R"("kind":"lost","lost":{"count":77},"detail":"77 records"})");
}

TEST(Json, ArgumentsAreBounded) {
  std::string argv;
  for (int i = 0; i < 1000; ++i) argv += "\"" + std::string(100, 'x') + "\",";
  LabelNames labels;
  const auto event = read_event(
      R"({"kind":"exited","time":"2026-11-22T21:45:56.000000001Z","subject":{"argv":[)" + argv + "\"\"]}}", labels);
  ASSERT_TRUE(event) << event.error().message;
  EXPECT_EQ(event->subject.argv.size(), 41u);  // 4096 bytes; the empty one still fits
}

TEST(Json, EveryByteStringSurvives) {
  std::string every;
  for (int i = 0; i < 256; ++i) every += static_cast<char>(i);
  for (const std::string& bytes :
       {every, std::string("\0", 1), std::string("\0\0a", 3), std::string("\xc3"), std::string("a\xc3\xa9\xff\xc3"),
        std::string("\xed\xa0\x80"), std::string("\xf4\x90\x80\x80"), std::string("日本語"), std::string("\xc0\x80"),
        std::string("\xc2\x9b"), std::string("\xe2\x80\xae"), std::string("\xf3\xa0\x80\x81"),
        std::string("\\x41\"")}) {
    std::string json;
    append_json_string(bytes, json);
    const auto text = nlohmann::json::parse(json).get<std::string>();
    EXPECT_EQ(bytes_from_json(text), bytes) << json;
    for (const char c : json) EXPECT_FALSE(static_cast<uint8_t>(c) < 0x20 || c == 0x7f) << json;
  }
  std::string json;
  append_json_string("caf\xc3\xa9 \xff \x1b[2J \xc2\x9b \xe2\x80\xae", json);
  EXPECT_EQ(json, "\"caf\xc3\xa9 \\u0000\\u00ff \\u001b[2J \\u009b \\u202e\"");
}

TEST(Json, ReadsWhatItDoesNotKnow) {
  LabelNames labels;
  const auto event = read_event(
      R"({"kind":"exited","time":"2026-11-22T21:45:56.000000001Z","new":{"a":[1,{"b":2}],"kind":"leak"},"x":[[]],)"
      R"("object":{"type":"process","id":"p3","pid":7,"more":{"pid":9}},"y":null,"z":-1.5e3,"w":true})",
      labels);
  ASSERT_TRUE(event) << event.error().message;
  EXPECT_EQ(event->kind, Kind::exited);
  EXPECT_EQ(event->object.process.pid, 7u);
  EXPECT_EQ(event->time_ns % 10, 1u);
}

TEST(Json, RefusesNonsense) {
  const std::string time = R"("time":"2026-11-22T21:45:56.000000001Z")";
  for (const std::string& line :
       std::vector<std::string>{"",
                                "x",
                                "[]",
                                "1",
                                "\"a\"",
                                "{}",
                                "{" + time + "}",
                                R"({"kind":"leak"})",
                                "{\"kind\":\"nope\"," + time + "}",
                                "{\"kind\":\"leak\",\"time\":\"2026-13-22T21:45:56.000000001Z\"}",
                                "{\"kind\":\"leak\"," + time,
                                "{\"kind\":\"leak\"," + time + ",\"labels\":[1]}",
                                "{\"kind\":\"leak\"," + time + ",\"labels\":[\"a b\"]}",
                                "{\"kind\":\"leak\"," + time + ",\"boot\":4294967296}",
                                "{\"kind\":\"leak\"," + time + ",\"object\":{\"id\":\"5\"}}",
                                "{\"kind\":\"leak\"," + time + ",\"object\":{\"type\":\"ghost\"}}",
                                "{\"kind\":\"leak\"," + time + ",\"object\":{\"remote\":{\"port\":70000}}}",
                                "{\"kind\":\"leak\"," + time + "} {}",
                                std::string(100'000, '['),
                                "{\"a\":" + std::string(100'000, '[')}) {
    LabelNames labels;
    const auto event = read_event(line, labels);
    ASSERT_FALSE(event) << line.substr(0, 100);
    EXPECT_FALSE(event.error().message.empty());
  }
}

TEST(Json, SixtyFourLabelsAndNoMore) {
  LabelNames labels;
  for (int i = 0; i < 64; ++i) ASSERT_TRUE(labels.add("l" + std::to_string(i)));
  EXPECT_EQ(labels.find("l63"), uint64_t{1} << 63);
  EXPECT_EQ(labels.add("l64").error().code, Errc::limit);
  EXPECT_EQ(labels.names(~uint64_t{0}).size(), 64u);
}

TEST(Json, ObjectIds) {
  event::ObjectType type = event::ObjectType::none;
  uint64_t id = 0;
  for (size_t i = 1; i < static_cast<size_t>(event::ObjectType::count); ++i) {
    EXPECT_TRUE(parse_object_id(object_id(static_cast<event::ObjectType>(i), 12), type, id));
    EXPECT_EQ(static_cast<size_t>(type), i);
    EXPECT_EQ(id, 12u);
  }
  for (const char* bad : {"", "f", "12", "x1", "f-1", "?1", "f1x", "f99999999999999999999999"})
    EXPECT_FALSE(parse_object_id(bad, type, id)) << bad;
}

TEST(LabelNames, SavedAndStable) {
  const testing::TempDirectory directory;
  ASSERT_TRUE(two_labels().save(directory.path()));
  auto labels = LabelNames::load(directory.path());
  ASSERT_TRUE(labels) << labels.error().message;
  EXPECT_EQ(labels->find("hr"), 2u);
  EXPECT_EQ(labels->names(7), (std::vector<std::string>{"plan", "hr", "label-2"}));
  for (const char* bad :
       {"", "x", "[]", "{}", R"({"labels":[1]})", R"({"labels":["a","a"]})", R"({"labels":["a/b"]})"}) {
    directory.write("labels.json", bad);
    EXPECT_EQ(LabelNames::load(directory.path()).error().code, Errc::invalid) << bad;
  }
}

// A line that is taken for damaged is a lost event, and there is nothing wrong with this one.
TEST(Json, WithoutMemoryNoLineIsTakenForDamaged) {
#ifdef OBORO_SANITIZED
  GTEST_SKIP() << "a sanitizer's allocator ends the process itself";
#endif
  Event event;
  event.set(event::Warning{std::string(4 << 20, 'x')});
  const std::string line = line_of(event);
  std::ifstream pages("/proc/self/statm");
  rlim_t size = 0;
  pages >> size;
  rlimit before{};
  getrlimit(RLIMIT_AS, &before);
  const rlimit little{size * static_cast<rlim_t>(sysconf(_SC_PAGESIZE)) + (2 << 20), before.rlim_max};
  LabelNames labels;
  setrlimit(RLIMIT_AS, &little);
  EXPECT_THROW((void)read_event(line, labels), std::bad_alloc) << "which nobody catches";
  setrlimit(RLIMIT_AS, &before);
  EXPECT_TRUE(read_event(line, labels));
}

}  // namespace
}  // namespace oboro::store
