// Hidden services in a guest whose kernel is hostile, with a proxy that is: calls with any arguments, kernel functions
// that return and leave behind anything, hooks entered in any order for a thread, memory that changes, answers that
// nobody asked for. Must not crash, and must end.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

#include "hiding/calls/calls.h"
#include "labels/pattern.h"
#include "tests/support/hiding/fake_dispatch.h"

namespace {

using namespace oboro;
using fake::FakeDispatch;
using fake::FakeThread;
using guest::Symbol;
using hiding::Service;
using hiding::Wait;

class Input {
 public:
  Input(const uint8_t* data, size_t size) : at_(data), left_(size) {}
  template <typename T>
  T take() {
    T value{};
    const size_t part = left_ < sizeof value ? left_ : sizeof value;
    if (part) std::memcpy(&value, at_, part);
    at_ += part;
    left_ -= part;
    return value;
  }
  std::span<const std::byte> bytes(size_t most) {
    const size_t part = std::min(left_, most);
    const auto all = std::as_bytes(std::span(at_, part));
    at_ += part;
    left_ -= part;
    return all;
  }
  bool empty() const { return left_ == 0; }

 private:
  const uint8_t* at_;
  size_t left_;
};

constexpr const char* kPaths[] = {"/var/secret/a", "/var/secret", "/var/secret/../x", "a", "..", "", "/tmp/x"};

// One of everything; made once, as it takes longer than a run.
struct World {
  World() {
    auto made = proxy::Channel::create();
    if (!made) std::abort();
    auto service = std::make_unique<Service>();
    service->name = "service";
    service->exe = "/service";
    service->network = true;
    service->children = true;
    service->files.push_back(*labels::Pattern::parse("/var/secret/**"));
    proxy::ChannelFds copy{UniqueFd(dup(made->memory.get())), UniqueFd(dup(made->for_proxy.get())),
                           UniqueFd(dup(made->for_tracer.get()))};
    std::array<int, 2> alive{};
    if (pipe(alive.data()) != 0) std::abort();
    life = UniqueFd(alive[1]);
    proxys.emplace(std::move(*proxy::Channel::attach(std::move(copy), proxy::Channel::Side::proxy)));
    service->set_first_proxy(std::make_shared<hiding::ProxyClient>(
        std::move(*proxy::Channel::attach(std::move(*made), proxy::Channel::Side::tracer)), UniqueFd(alive[0])));
    services.push_back(std::move(service));
  }
  UniqueFd life;
  std::optional<proxy::Channel> proxys;
  std::vector<std::unique_ptr<Service>> services;
};

// Small numbers, pointers into the program, into the kernel, anything.
uint64_t some_word(Input& input, FakeDispatch& guest) {
  const auto kind = input.take<uint8_t>();
  switch (kind % 8) {
    case 0:
      return kind >> 3;
    case 1:
      return FakeDispatch::kUser + input.take<uint16_t>();
    case 2:
      return guest.put(kPaths[(kind >> 3) % std::size(kPaths)], input.take<uint16_t>());
    case 3:
      return static_cast<uint64_t>(int64_t{input.take<int8_t>()});
    case 4:
      return fake::kDirectMap.value + input.take<uint32_t>() % (24u << 20);
    case 5:
      return static_cast<uint64_t>(AT_FDCWD);
    case 6:
      return input.take<uint32_t>();
    default:
      return input.take<uint64_t>();
  }
}

// As of a proxy: small, a handle, an error, or anything.
int64_t some_result(Input& input) {
  const auto small = input.take<int8_t>();
  return small == 127 ? input.take<int64_t>() : small == 126 ? -int64_t{input.take<uint16_t>()} : small;
}

// Something happens to a thread.
void act(Input& input, FakeDispatch& guest, FakeThread& thread, FakeThread* const (&all)[3]) {
  const auto what = input.take<uint8_t>();
  if (what < 224) {
    std::array<uint64_t, 6> a{};
    for (uint64_t& word : a) word = some_word(input, guest);
    const auto number = input.take<uint16_t>() % 512u;
    (void)thread.call(what < 112 ? number : number % 80, a);
  } else if (what < 228) {
    (void)guest.exec();
  } else if (what < 230) {
    (void)guest.exec_other();
  } else if (what < 234) {
    (void)thread.exits();
  } else if (what < 242) {
    guest.forks(thread, all[what % 3]->task);
  } else if (what < 246) {
    // Comes back though nobody went, or to another hook than it came from, or with another's stack.
    arch::use_frame(thread.vcpu,
                    what % 2 ? arch::CallFrame{Gva(some_word(input, guest))} : arch::call_frame(all[what % 3]->vcpu));
    guest.guest.run(thread.vcpu, all[input.take<uint8_t>() % 3]->task);
    (void)thread.go_on(what % 2 ? Symbol::fn_syscall_user_dispatch : Symbol::fn_exit_files);
  } else if (what < 251) {
    const auto bytes = input.bytes(64);
    std::memcpy(guest.user.data() + input.take<uint16_t>(), bytes.data(), bytes.size());
  } else if (what == 251) {
    (void)guest.hider.retire(input.take<uint8_t>() % 2);
  } else {
    guest.sleep_result = what % 2 ? -EINTR : 0;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 8) return 0;
  // New for each run: a thread that hangs in the middle of a call belongs to it.
  World world;
  Input input(data, size);
  FakeDispatch guest(world.services, input.take<uint8_t>() % 2 ? Wait::park : Wait::yield);
  std::vector<std::byte> storage;
  // Threads of the program, and another process, that begin in the middle of each other's calls.
  FakeThread second(guest, guest.make_thread(101), 1), third(guest, guest.make_process(200), 2);
  FakeThread* const all[] = {&guest.first, &second, &third};
  unsigned steps = 0;
  guest.may_go_on = [&](const engine::Call&) {
    // What the proxy was asked is answered somehow.
    while (const auto asked = world.proxys->receive(storage)) {
      proxy::Frame frame;
      frame.op = proxy::Op::answer;
      frame.id = asked->id + input.take<uint8_t>() / 250;
      frame.arguments = {some_result(input), some_result(input), 0, 0};
      const auto kind = input.take<uint8_t>();
      // As long as a struct statx, mostly; or as an array of pollfds, or any.
      const std::vector<std::byte> first(kind % 4 == 0 ? 256 : kind == 255 ? 70000 : kind, std::byte{kind});
      frame.first = first;
      if (kind & 1) frame.second = input.bytes(16);
      (void)world.proxys->send(frame);
    }
    return ++steps % 400 != 0;
  };
  guest.takes_time = false;
  unsigned depth = 0;
  guest.instead = [&](const engine::Call& to) -> std::optional<uint64_t> {
    const auto kind = input.take<uint8_t>();
    if (kind < 200) return std::nullopt;
    if (kind < 205) arch::use_frame(all[kind % 3]->vcpu, {to.frame.stack + kind});
    if (kind < 210) guest::Writer(guest.guest.kernel()).put(to.frame.stack, some_word(input, guest));
    // It sleeps, and another vCPU enters a hook.
    if (kind >= 240 && depth < 3) {
      ++depth;
      act(input, guest, *all[kind % 3], all);
      --depth;
      return std::nullopt;
    }
    return some_word(input, guest);
  };
  (void)guest.exec();
  for (unsigned i = 0; i < 24 && !input.empty(); ++i) act(input, guest, *all[input.take<uint8_t>() % 3], all);
  (void)guest.hider.retire(false);
  return 0;
}
