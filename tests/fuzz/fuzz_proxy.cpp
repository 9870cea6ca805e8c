// The proxy of hidden services, from both sides: frames as the other side could write them, calls as a service that was
// taken over could make them, and a ring with anything in it. What parses must come out of header_of() as the same
// bytes; what is executed must leave what is beside its root as it is.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <memory>
#include <signal.h>
#include <string>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/channel.h"
#include "proxy/files.h"
#include "proxy/sockets.h"

namespace {

using namespace oboro;
using namespace oboro::proxy;

constexpr char kCanary[] = "nobody may read this";
constexpr size_t kRing = 192 + Channel::kRingSize;

// A directory with a root in it, and a canary beside that.
class World {
 public:
  World() {
    char path[] = "/tmp/oboro-fuzz-proxy-XXXXXX";
    if (!mkdtemp(path)) std::abort();
    top_ = path;
    std::ofstream(top_ + "/outside") << kCanary;
    const rlimit size{1 << 20, 1 << 20};  // so that no call fills the disk
    setrlimit(RLIMIT_FSIZE, &size);
    signal(SIGXFSZ, SIG_IGN);
    renew();
  }
  ~World() { std::filesystem::remove_all(top_); }

  void renew() {
    (void)!system(("chmod -R u+rwx " + root() + " 2>/dev/null; rm -rf " + root()).c_str());
    std::filesystem::create_directories(root() + "/a/b");
    std::ofstream(root() + "/f") << "inside";
    std::filesystem::create_symlink("../outside", root() + "/l");
    std::filesystem::create_symlink("..", root() + "/a/u");
    lstat((top_ + "/outside").c_str(), &canary_);
  }
  void check() const {
    struct stat now {};
    if (lstat((top_ + "/outside").c_str(), &now) != 0 || now.st_ctim.tv_nsec != canary_.st_ctim.tv_nsec ||
        now.st_size != canary_.st_size || now.st_nlink != 1)
      std::abort();
  }
  std::string root() const { return top_ + "/root"; }

 private:
  std::string top_;
  struct stat canary_ {};
};

void round_trip(const Frame& frame, std::span<const std::byte> bytes) {
  const auto header = header_of(frame);
  if (!std::equal(header.begin(), header.end(), bytes.begin()) ||
      frame.first.size() + frame.second.size() + kHeaderSize != bytes.size())
    std::abort();
}

// The next frame, put right where it would be none: that is what the first mode is for.
std::vector<std::byte> take_frame(std::span<const std::byte>& bytes) {
  uint32_t size = 0, first = 0;
  uint16_t op = 0;
  std::memcpy(&size, bytes.data(), sizeof size);
  std::memcpy(&op, bytes.data() + 4, sizeof op);
  std::memcpy(&first, bytes.data() + 20, sizeof first);
  size = std::min(static_cast<uint32_t>(kHeaderSize) + size % 512, static_cast<uint32_t>(bytes.size()));
  op = op % static_cast<uint16_t>(Op::count);
  first = std::min(first % 512, size - static_cast<uint32_t>(kHeaderSize));
  std::vector<std::byte> frame(bytes.begin(), bytes.begin() + size);
  bytes = bytes.subspan(size);
  std::memcpy(frame.data(), &size, sizeof size);
  std::memcpy(frame.data() + 4, &op, sizeof op);
  std::memset(frame.data() + 6, 0, 2);
  std::memcpy(frame.data() + 20, &first, sizeof first);
  return frame;
}

void execute(std::span<const std::byte> bytes) {
  static World world;
  static unsigned runs = 0;
  if (++runs % 2000 == 0) world.renew();
  Handles handles(16);
  Files files(UniqueFd(open(world.root().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)), handles);
  Sockets sockets({}, handles);
  while (bytes.size() >= kHeaderSize) {
    const std::vector<std::byte> one = take_frame(bytes);
    const auto call = parse(one);
    if (!call) std::abort();
    round_trip(*call, one);
    Outcome outcome;
    if (Files::is_file_call(call->op)) {
      outcome = files.execute(*call);
    } else if (Sockets::is_socket_call(call->op)) {
      Progress progress;
      outcome = sockets.attempt(*call, progress).value_or(Outcome());
      if (outcome.result > 0 && (call->op == Op::socket || call->op == Op::accept)) std::abort();
    }
    const std::string_view text(reinterpret_cast<const char*>(outcome.first.data()), outcome.first.size());
    if (text.find(kCanary) != std::string_view::npos) std::abort();
    if (outcome.first.size() > kMaxData || outcome.second.size() > kMaxPath) std::abort();
  }
  world.check();
}

const ChannelFds& channel() {
  static const ChannelFds fds = *Channel::create();
  return fds;
}

// The first bytes are the positions, the rest is what both rings begin with.
void ring(std::span<const std::byte> bytes) {
  const ChannelFds& fds = channel();
  static auto* memory =
      static_cast<std::byte*>(mmap(nullptr, 2 * kRing, PROT_READ | PROT_WRITE, MAP_SHARED, fds.memory.get(), 0));
  if (memory == MAP_FAILED) std::abort();
  for (const Channel::Side side : {Channel::Side::tracer, Channel::Side::proxy}) {
    for (std::byte* half : {memory, memory + kRing}) {
      std::memset(half, 0, 192);
      const size_t positions = std::min<size_t>(bytes.size(), 16);
      if (positions > 0) std::memcpy(half, bytes.data(), std::min<size_t>(positions, 8));
      if (positions > 8) std::memcpy(half + 64, bytes.data() + 8, positions - 8);
      if (bytes.size() > 16)
        std::memcpy(half + 192, bytes.data() + 16, std::min(bytes.size() - 16, Channel::kRingSize));
    }
    auto attached = Channel::attach(
        {UniqueFd(dup(fds.memory.get())), UniqueFd(dup(fds.for_proxy.get())), UniqueFd(dup(fds.for_tracer.get()))},
        side);
    if (!attached) std::abort();
    std::vector<std::byte> storage;
    for (int i = 0; i < 100; ++i) {
      const auto frame = attached->receive(storage);
      if (!frame) break;
      round_trip(*frame, storage);
    }
    (void)attached->may_sleep();
    Frame out;
    out.first = bytes.first(std::min<size_t>(bytes.size(), 1000));
    (void)attached->send(out);
    (void)attached->may_wait_for_room();
    if (attached->broken() && (attached->send(out) || attached->receive(storage))) std::abort();
  }
}

}  // namespace

// Before World's limit of file sizes, which its memory file is above.
extern "C" int LLVMFuzzerInitialize(int*, char***) {
  channel();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::span bytes(reinterpret_cast<const std::byte*>(data) + 1, size - 1);
  switch (data[0] % 3) {
    case 0:
      if (const auto frame = parse(bytes)) round_trip(*frame, bytes);
      break;
    case 1:
      execute(bytes);
      break;
    default:
      ring(bytes);
  }
  return 0;
}
