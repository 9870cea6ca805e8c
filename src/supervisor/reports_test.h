// What a tracer reports, for tests of what becomes of it.
#pragma once

#include <gtest/gtest.h>
#include <thread>
#include <vector>

#include "event/codec.h"
#include "link/settings.h"
#include "stream/recorder.h"
#include "stream/ring_writer.h"

namespace oboro::supervisor {

class Reports {
 public:
  Reports(const std::string& state_dir, const link::Settings& settings)
      : boot_(settings.boot), seq_(settings.first_seq), ring_(stream::RingWriter::open(stream::ring_path(state_dir))) {
    EXPECT_TRUE(ring_) << ring_.error().message;
  }
  // Waits while the ring is full.
  void push(event::Kind kind, const event::Object& object) {
    event::Event event;
    event.seq = seq_++;
    event.boot = boot_;
    event.kind = kind;
    event.labels = 1;
    event.object = object;
    std::vector<std::byte> bytes;
    event::encode(event, bytes);
    while (!ring_->push(bytes)) std::this_thread::yield();
  }
  uint64_t last_seq() const { return seq_ - 1; }

 private:
  const uint32_t boot_;
  uint64_t seq_;
  Result<stream::RingWriter> ring_;
};

}  // namespace oboro::supervisor
