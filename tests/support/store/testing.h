// Support for tests that need a state directory and events.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <iterator>
#include <string>

#include "event/event.h"
#include "store/journal/appender.h"

namespace oboro::store::testing {

class TempDirectory {
 public:
  TempDirectory() {
    char name[] = "/tmp/oboro-store-XXXXXX";
    path_ = ::mkdtemp(name);
  }
  ~TempDirectory() { std::filesystem::remove_all(path_); }
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;
  const std::string& path() const { return path_; }
  std::string read(const std::string& name) const {
    std::ifstream in(path_ + "/" + name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void write(const std::string& name, const std::string& content) const {
    std::ofstream(path_ + "/" + name, std::ios::binary) << content;
  }

 private:
  std::string path_;
};

inline event::Object file(uint64_t id, std::string path, std::string fs = "11111111-2222-3333-4444-555555555555") {
  event::Object object;
  object.type = event::ObjectType::file;
  object.id = id;
  object.path = std::move(path);
  object.inode = 1000 + id;
  object.generation = 7;
  object.fs = std::move(fs);
  object.fs_type = "ext4";
  return object;
}

inline event::Object process(uint64_t id, uint32_t pid, std::string comm = "cat") {
  event::Object object;
  object.type = event::ObjectType::process;
  object.id = id;
  object.process.pid = object.process.tid = pid;
  object.process.start_time_ns = 5'000'000'000 + id;
  object.process.exe = "/usr/bin/" + comm;
  object.process.comm = std::move(comm);
  return object;
}

inline event::Object socket(uint64_t id, std::string remote = "10.0.2.2", uint16_t port = 443) {
  event::Object object;
  object.type = event::ObjectType::socket;
  object.id = id;
  object.protocol = "tcp";
  object.local = {"10.0.2.15", 40000};
  object.remote = {std::move(remote), port};
  return object;
}

// Events with ascending numbers and times.
class Events {
 public:
  event::Event make(event::Kind kind, event::Object object = {}, event::Object from = {}, uint64_t labels = 0) {
    event::Event event;
    event.seq = ++seq_;
    event.time_ns = 1'795'383'956'000'000'000 + seq_ * 1'000'000;
    event.boot = boot;
    event.kind = kind;
    event.labels = labels;
    event.object = std::move(object);
    event.from = std::move(from);
    return event;
  }
  uint32_t boot = 1;
  void skip(uint64_t count) { seq_ += count; }

 private:
  uint64_t seq_ = 0;
};

}  // namespace oboro::store::testing
