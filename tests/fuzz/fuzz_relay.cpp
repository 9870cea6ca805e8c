// A relay between a channel and a stream that say anything: it ends with an error or goes on, and what comes out of it
// at the other side is frames.
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <signal.h>
#include <string_view>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

#include "proxy/relay.h"

using namespace oboro;
using namespace oboro::proxy;

namespace {

constexpr size_t kData = 192;  // where a ring's bytes begin
constexpr size_t kRing = kData + Channel::kRingSize;

// One for all runs: to make it takes longer than a run.
struct Memory {
  Memory() {
    auto made = Channel::create();
    if (!made) std::abort();
    fds = std::move(*made);
    void* all = mmap(nullptr, 2 * kRing, PROT_READ | PROT_WRITE, MAP_SHARED, fds.memory.get(), 0);
    if (all == MAP_FAILED) std::abort();
    bytes = static_cast<std::byte*>(all);
  }
  void clear() const {
    for (const size_t ring : {size_t{0}, kRing}) std::memset(bytes + ring, 0, kData);
  }
  ChannelFds copy() const {
    return {UniqueFd(dup(fds.memory.get())), UniqueFd(dup(fds.for_proxy.get())), UniqueFd(dup(fds.for_tracer.get()))};
  }
  ChannelFds fds;
  std::byte* bytes;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Memory memory;
  signal(SIGPIPE, SIG_IGN);
  if (size < 2) return 0;
  std::array<int, 2> stream{}, life{};
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, stream.data()) != 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, life.data()) != 0)
    std::abort();
  UniqueFd ours(stream[0]), end(life[1]);
  const UniqueFd theirs_end(life[0]);
  // The first two bytes: how much of the rest is in the ring of calls, as it is; what is left comes through the stream.
  const size_t in_ring = std::min<size_t>(size - 2, size_t{data[0]} << 8 | data[1]);
  memory.clear();
  std::memcpy(memory.bytes + kData, data + 2, in_ring);
  const uint64_t written = in_ring / 8 * 8;
  std::memcpy(memory.bytes, &written, sizeof written);
  const std::string_view text(reinterpret_cast<const char*>(data + 2 + in_ring), size - 2 - in_ring);
  (void)!write(ours.get(), text.data(), text.size());
  shutdown(ours.get(), SHUT_WR);
  auto channel = Channel::attach(memory.copy(), Channel::Side::proxy);
  auto tracer = Channel::attach(memory.copy(), Channel::Side::tracer);
  if (!channel || !tracer) std::abort();
  (void)relay(std::move(*channel), UniqueFd(stream[1]), theirs_end.get());

  std::vector<std::byte> storage;
  while (tracer->receive(storage)) {
  }
  if (tracer->broken()) std::abort();
  std::vector<std::byte> heard(1 << 16);
  for (size_t have = 0;;) {
    const ssize_t count = read(ours.get(), heard.data() + have, heard.size() - have);
    if (count <= 0) {
      // Whole frames one behind the other; the last one may have been cut off.
      for (size_t at = 0; at + kHeaderSize <= have;) {
        uint32_t one = 0;
        std::memcpy(&one, heard.data() + at, sizeof one);
        if (one < kHeaderSize || one > kMaxFrame) std::abort();
        if (at + one <= have && !parse(std::span(heard).subspan(at, one))) std::abort();
        at += one;
      }
      break;
    }
    have += static_cast<size_t>(count);
    if (have == heard.size()) heard.resize(2 * have);
  }
  return 0;
}
