// The proxy of hidden services, from both sides: frames as the other side could write them, calls as a service that was
// taken over could make them, and a ring with anything in it. What parses must come out of header_of() as the same
// bytes; what is executed must leave what is beside its root as it is, and reach nobody on its own host.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <memory>
#include <poll.h>
#include <signal.h>
#include <string>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz_network.h"
#include "proxy/channel.h"
#include "proxy/epolls.h"
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
    signal(SIGPIPE, SIG_IGN);
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

FuzzNetwork& network() {
  static FuzzNetwork one;
  return one;
}

// Most of what a frame may hold means nothing to a socket. Three of four calls of the network get arguments that do,
// chosen by the bytes that stood there.
class Meaningful {
 public:
  // made: handles so far.
  Meaningful(Frame& call, uint32_t made) : handles_(made + 2) {
    call.handle %= handles_;
    if (call.id % 4 == 0) return;
    std::array<int64_t, 4>& a = call.arguments;
    const auto pick = [](int64_t by, auto... values) {
      const std::array all{static_cast<int64_t>(values)...};
      return all[static_cast<uint64_t>(by) % all.size()];
    };
    switch (call.op) {
      case Op::socket:
        a = {pick(a[0], AF_INET, AF_INET6), pick(a[1], SOCK_STREAM, SOCK_DGRAM) | pick(a[2], 0, SOCK_NONBLOCK), 0};
        break;
      case Op::connect:
        call.first = address(a[0]);
        break;
      case Op::bind:
        call.first = address(a[0] % 2 ? a[0] : FuzzNetwork::kToListen);
        break;
      case Op::send:
        if (a[1] % 2) call.second = address(a[2]);
        if (call.first.empty()) call.first = bytes_of("something");
        break;
      case Op::receive:
        a[0] = static_cast<int64_t>(static_cast<uint64_t>(a[0]) % 4096);
        a[1] &= pick(a[2], -1, MSG_TRUNC | MSG_PEEK, MSG_WAITALL | MSG_TRUNC, 0);
        break;
      case Op::poll:
        call.first = polled(call.first);
        break;
      case Op::getsockopt:
      case Op::setsockopt: {
        const SocketOption option = socket_options()[static_cast<uint64_t>(a[0]) % socket_options().size()];
        a = {option.level, option.name, a[2] % 300};
        break;
      }
      case Op::epoll_ctl:
        a[0] = pick(a[0], EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL);
        a[1] = static_cast<int64_t>(static_cast<uint64_t>(a[1]) % handles_);
        break;
      default:
        break;
    }
  }

 private:
  std::span<const std::byte> address(int64_t which) {
    bytes_ = FuzzNetwork::address(static_cast<unsigned>(which));
    return bytes_;
  }
  std::span<const std::byte> polled(std::span<const std::byte> asked) {
    bytes_.assign(asked.begin(), asked.begin() + static_cast<ptrdiff_t>(asked.size() - asked.size() % sizeof(pollfd)));
    for (size_t at = 0; at < bytes_.size(); at += sizeof(pollfd)) {
      pollfd one{};
      std::memcpy(&one, bytes_.data() + at, sizeof one);
      one.fd %= static_cast<int>(handles_);
      std::memcpy(bytes_.data() + at, &one, sizeof one);
    }
    return bytes_;
  }
  const uint32_t handles_;        // their numbers, and one more
  std::vector<std::byte> bytes_;  // that the call refers to
};

// A proxy without its channel.
class Executor {
 public:
  explicit Executor(const std::string& root)
      : files_(UniqueFd(open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)), handles_),
        sockets_(network().policy(), handles_),
        epolls_(handles_, network().is_there()) {}

  void call(Frame frame) {
    const Meaningful meaningful(frame, made_);
    const Done outcome = outcome_of(frame);
    const bool makes =
        frame.op == Op::open || frame.op == Op::socket || frame.op == Op::accept || frame.op == Op::epoll_create;
    if (makes && outcome.result > 0) made_ = static_cast<uint32_t>(outcome.result);
    const std::string_view text(reinterpret_cast<const char*>(outcome.first.data()), outcome.first.size());
    if (text.find(kCanary) != std::string_view::npos) std::abort();
    if (outcome.first.size() > kMaxData || outcome.second.size() > kMaxPath) std::abort();
    const bool of_network = Sockets::is_socket_call(frame.op) || Epolls::is_epoll_call(frame.op);
    if (of_network && frame.op != Op::poll && outcome.result > 0 && !network().is_there()) std::abort();
    if (frame.op == Op::receive && std::max<int64_t>(outcome.result, 0) < static_cast<int64_t>(text.size()))
      std::abort();
  }

 private:
  Done outcome_of(const Frame& frame) {
    if (Files::is_file_call(frame.op)) return files_.execute(frame);
    if (Epolls::is_epoll_call(frame.op)) return epolls_.execute(frame);
    if (!Sockets::is_socket_call(frame.op)) return {};
    Progress progress;
    if (auto done = sockets_.attempt(frame, progress)) return std::move(*done);
    network().turn();
    if (auto done = sockets_.attempt(frame, progress)) return std::move(*done);
    return Sockets::timed_out(frame, progress);
  }

  Handles handles_{16};
  Files files_;
  Sockets sockets_;
  Epolls epolls_;
  uint32_t made_ = 0;
};

// What a call is in 12 bytes and those that follow: long sequences of calls come from few bytes.
Frame take_short(std::span<const std::byte>& bytes, uint64_t id) {
  const auto at = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
  Frame frame;
  frame.id = id;
  frame.op = static_cast<Op>(at(0) % static_cast<unsigned>(Op::count));
  frame.handle = at(1);
  for (size_t i = 0; i < frame.arguments.size(); ++i)
    frame.arguments[i] = int64_t{static_cast<int8_t>(at(2 + i))} * (at(6 + i) % 8 == 7 ? 1000 : 1);
  const size_t first = std::min<size_t>(at(10) % 128, bytes.size() - 12);
  const size_t second = std::min<size_t>(at(11) % 32, bytes.size() - 12 - first);
  frame.first = bytes.subspan(12, first);
  frame.second = bytes.subspan(12 + first, second);
  bytes = bytes.subspan(12 + first + second);
  return frame;
}

void execute(std::span<const std::byte> bytes, bool in_short) {
  static World world;
  static unsigned runs = 0;
  if (++runs % 2000 == 0) world.renew();
  {
    Executor executor(world.root());
    for (uint64_t id = 1; in_short && bytes.size() >= 12; ++id) executor.call(take_short(bytes, id));
    while (!in_short && bytes.size() >= kHeaderSize) {
      const std::vector<std::byte> one = take_frame(bytes);
      const auto call = parse(one);
      if (!call) std::abort();
      round_trip(*call, one);
      executor.call(*call);
    }
  }
  world.check();
  network().check();
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

// libFuzzer learns the canary from the comparisons with it; a proxy that gives back what it was given has not read it.
bool knows_the_canary(std::string_view input) {
  constexpr size_t kPiece = 6;
  for (size_t at = 0; at + kPiece < sizeof kCanary; ++at)
    if (input.find(std::string_view(kCanary).substr(at, kPiece)) != std::string_view::npos) return true;
  return false;
}

}  // namespace

// Before World's limit of file sizes, which its memory file is above.
extern "C" int LLVMFuzzerInitialize(int*, char***) {
  channel();
  (void)network();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0 || knows_the_canary({reinterpret_cast<const char*>(data), size})) return 0;
  const std::span bytes(reinterpret_cast<const std::byte*>(data) + 1, size - 1);
  switch (data[0] % 4) {
    case 0:
      if (const auto frame = parse(bytes)) round_trip(*frame, bytes);
      break;
    case 1:
    case 2:
      execute(bytes, data[0] % 4 == 2);
      break;
    default:
      ring(bytes);
  }
  return 0;
}
