// What the tests of the tracer share: a tracer on a fake guest, with a supervisor that answers as it is told to.
#pragma once

#include <gtest/gtest.h>
#include <memory>
#include <stdlib.h>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include "event/codec.h"
#include "link/control.h"
#include "stream/ring_reader.h"
#include "tests/support/guest/fake_guest.h"
#include "tracer/tracer.h"

namespace oboro::tracer {

using event::Kind;
using fake::FakeGuest;
using guest::Symbol;

class TracerTest : public testing::Test {
 protected:
  TracerTest() : disk(guest.file_system(0xef53, "ext4", 0x800001, 0x10)) {
    guest.mount(disk, Gva(), Gva());
    task = guest.task(100, "task");
    secret = guest.make_file(disk, "secret", 11);
    settings.capacity = 1024;
    settings.rules = {{"/secret", 1}};
    arch::set_tables(vcpu, {guest.memory.root()});
    guest.run(vcpu, task);
  }
  void make(size_t ring_size = 1 << 20, std::vector<std::unique_ptr<hiding::Service>> services = {}) {
    char path[] = "/tmp/oboro-tracer-test-XXXXXX";
    ASSERT_TRUE(mkdtemp(path));
    const std::string file = std::string(path) + "/ring";
    Result<stream::RingReader> created = stream::RingReader::create(file, ring_size);
    ASSERT_TRUE(created) << created.error().message;
    Result<stream::RingWriter> opened = stream::RingWriter::open(file);
    ASSERT_TRUE(opened);
    ring = std::make_unique<stream::RingReader>(std::move(*created));
    unlink(file.c_str());
    unlink(stream::read_path(file).c_str());
    rmdir(path);
    int pair[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    supervisor.reset(pair[1]);
    auto made =
        Tracer::create(guest.memory.ram(), settings, std::move(*opened), UniqueFd(pair[0]), std::move(services));
    ASSERT_TRUE(made) << made.error().message;
    tracer = std::move(*made);
  }
  // The supervisor's answers to the messages, in order.
  void answer(std::vector<link::Body> answers) {
    supervising = std::thread([this, answers = std::move(answers)] {
      for (const link::Body& body : answers) {
        Result<link::Message> message = link::receive(supervisor.get(), 5000);
        if (!message) return;
        asked.push_back(std::move(*message));
        (void)link::send(supervisor.get(), body);
      }
    });
  }
  Result<std::vector<engine::Hook>> arm() {
    answer({link::KernelProfile{true, guest.profile.format()}});
    auto armed = tracer->arm(vcpu);
    supervising.join();
    return armed;
  }
  void hook(Symbol function, std::initializer_list<uint64_t> arguments) {
    vcpu.set_arguments(arguments);
    for (const hooks::HookPoint& point : hooks::hook_points())
      if (point.function == function) tracer->hook(point, vcpu);
  }
  std::vector<event::Event> events() {
    std::vector<event::Event> out;
    std::span<const std::byte> bytes;
    stream::RingReader::Next next;
    while ((next = ring->next(bytes)) == stream::RingReader::Next::record) {
      auto decoded = event::decode(bytes);
      EXPECT_TRUE(decoded);
      if (decoded) out.push_back(*decoded);
    }
    EXPECT_EQ(next, stream::RingReader::Next::nothing) << ring->damage();
    ring->take();
    return out;
  }

  FakeGuest guest;
  fake::FileSystem disk;
  Gva task, secret;
  fake::FakeVcpu vcpu;
  link::Settings settings;
  std::unique_ptr<stream::RingReader> ring;
  std::unique_ptr<Tracer> tracer;
  UniqueFd supervisor;
  std::thread supervising;
  std::vector<link::Message> asked;
};

}  // namespace oboro::tracer
