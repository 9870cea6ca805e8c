// Every handler and every reader of guest structures over memory that is the fuzzer's, in two ways:
//  - memory made of the input's words, most of them turned into pointers to more of the same;
//  - a sane guest in which the input overwrites members.
// Must not crash, and must end: a run of a second or more is reported as a crash.

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <memory>
#include <thread>
#include <time.h>

#include "guest/ftrace.h"
#include "guest/page_cache.h"
#include "guest/users.h"
#include "hooks/table.h"
#include "tests/support/guest/fake_guest.h"

namespace {

using namespace oboro;
using fake::FakeGuest;
using fake::kDirectMap;
using guest::Field;
using guest::Symbol;

constexpr size_t kMemory = 14 << 20;
constexpr uint64_t kHeap = fake::kImageStart.value + fake::kImageSize;  // what the image does not take
constexpr uint64_t kObjects = 64;                                       // pages from there on that pointers go to

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
  bool empty() const { return left_ == 0; }

 private:
  const uint8_t* at_;
  size_t left_;
};

class NullReporter final : public hooks::Reporter {
 public:
  void report(event::Event&) override {}
  void incomplete(const char*) override {}
  void kernel_replaced() override {}
};

uint64_t now_ms() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1000 + static_cast<uint64_t>(t.tv_nsec) / 1000000;
}

void check_time(uint64_t since, const char* what) {
  const uint64_t took = now_ms() - since;
  if (took < 1000) return;
  fprintf(stderr, "%s took %llu ms\n", what, static_cast<unsigned long long>(took));
  abort();
}

// Most words become what the kernel's are: pointers to objects, list ends, small numbers.
uint64_t plausible(uint8_t kind, uint64_t word) {
  const uint64_t object = kDirectMap.value + kHeap + word % kObjects * 4096;
  switch (kind % 8) {
    case 0:
      return 0;
    case 1:
      return word;
    case 2:
      return word & 0xffff;
    case 3:
      return object + (word >> 8) % 64 * 8;  // into the middle
    case 4:
      return object | (word >> 8 & 15) << 3 | 6;  // a maple node
    case 5:
      return fake::kImageBase.value + word % fake::kImageSize / 8 * 8;  // into the image
    default:
      return object;
  }
}

struct World {
  World() : guest(kMemory) {}
  FakeGuest guest;
};

// Touching a structure means touching a page of it: sparse writes keep an input's size in proportion to what it says.
void scatter(FakeGuest& guest, Input& input, bool everything) {
  while (!input.empty()) {
    const auto where = input.take<uint16_t>();
    const auto kind = input.take<uint8_t>();
    const uint64_t value = plausible(kind, input.take<uint32_t>());
    const uint64_t page = everything ? where % kObjects : where % 128;
    const Gva at = kDirectMap + kHeap + page * 4096 + (where / kObjects) * 8 % 0x600;
    guest.write(at, value);
    if (kind & 0x80)  // a run: whole nodes and arrays
      for (uint64_t i = 1; i < 32; ++i)
        guest.write(at + i * 8, plausible(static_cast<uint8_t>(kind + i / 8), value / 4096 + i * 0x101));
  }
}

void run_handlers(FakeGuest& guest, Input& script, fake::FakeVcpu& vcpu, size_t count) {
  static labels::PatternSet patterns = [] {
    labels::PatternSet set;
    (void)set.add(*labels::Pattern::parse("/**"), 4);
    return set;
  }();
  NullReporter reporter;
  labels::Carriers state(1024, 1);
  policy::Policy policy;
  policy.leak = count & 1 ? policy::Verdict::deny : policy::Verdict::alert;
  hooks::Environment environment(guest.kernel(), state, patterns, policy, reporter);
  const auto points = hooks::hook_points();
  for (size_t i = 0; i < count; ++i) {
    const auto which = script.take<uint8_t>();
    for (const arch::Reg reg : arch::kArguments) {
      const auto kind = script.take<uint8_t>();
      vcpu.set(reg, kind < 8 ? kind : plausible(kind, script.take<uint16_t>()));
    }
    const uint64_t start = now_ms();
    hooks::Operation operation(environment, vcpu);
    if (which & 0x40) (void)state.add(which, operation.process());
    if (which & 0x80) (void)state.add(1, labels::Carrier(labels::CarrierKind::inode, operation.value(0)));
    const hooks::HookPoint& point = points[which % points.size()];
    hooks::dispatch(point, operation);
    check_time(start, point.what.data());
  }
}

void run_readers(FakeGuest& guest, uint64_t object) {
  using namespace oboro::guest;
  const uint64_t start = now_ms();
  const Gva at(object);
  const auto with = [&](auto&& fn) {
    Reader r(guest.kernel());
    fn(r);
  };
  with([&](Reader& r) { (void)Dentry{at}.true_path(r); });
  with([&](Reader& r) {
    PathBuffer buffer;
    (void)buffer.assign_mounted_path(r, File{at});
  });
  with([&](Reader& r) { (void)Inode{at}.identity(r).hash(); });
  with([&](Reader& r) {
    std::array<std::byte, 100> out;
    (void)read_cached(r, Inode{at}, object >> 12 & 0x3ffff, out);
  });
  (void)Users(guest.kernel()).name(0);
  with([&](Reader& r) { (void)SuperBlock{at}.name(r), (void)SuperBlock{at}.type(r); });
  with([&](Reader& r) { (void)Task{at}.exe(r), (void)Task{at}.cgroup(r), (void)Task{at}.comm(r); });
  with([&](Reader& r) {
    std::vector<Inode> inodes;
    (void)shared_writable_inodes(r, at, inodes);
  });
  with([&](Reader& r) {
    std::vector<Task> tasks;
    (void)mappers(r, Inode{at}, tasks);
  });
  with([&](Reader& r) { (void)for_each_process(r, 65536, [](Task) { return true; }); });
  with([&](Reader& r) { (void)for_each_thread(r, 65536, [](Task) { return true; }); });
  with([&](Reader& r) { (void)ftrace_flags(r, std::vector<Gva>{at, guest.symbol(guest::Symbol::fn_file_open)}); });
  with([&](Reader& r) { (void)Sock{at}.unix_name(r), (void)Sock{at}.protocol_name(r); });
  with([&](Reader& r) {
    IpEndpoint to = Sock{at}.remote(r);
    (void)message_destination(r, at, to);
    std::vector<Sock> socks;
    (void)namespace_of_address(r, at, to.address);
    (void)udp_receivers(r, at, to, socks);
  });
  check_time(start, "the readers");
}

// A guest in which everything hangs together; built once, copied back before each run.
struct SaneGuest {
  SaneGuest() : guest(kMemory) {
    const auto disk = guest.file_system(0xef53, "ext4", 1, 16);
    const Gva mount = guest.mount(disk, Gva(), Gva());
    const Gva passwd = guest.inode(disk.sb, guest::FileType::regular, 4);
    guest.cache(passwd, "root:x:0:0:::\n", 0, 2);
    guest.dentry(guest.dentry(disk.root, "etc"), "passwd", passwd);
    guest.set_root(guest.task(1, "init"), mount, disk.root);
    const Gva dentry = guest.make_file(disk, "f", 3), file = guest.open(dentry, mount);
    const Gva task = guest.task(100, "a"), other = guest.task(101, "b");
    guest.share_mm(other, guest.mm(task));
    const Gva vma = guest.vma(guest.mm(task), file, 10), vma2 = guest.vma(guest.mm(task), file, 10);
    guest.set_vmas(guest.mm(task), {vma, vma2, vma, vma2, vma}, 3);
    guest.set_mappers(guest.inode_of(dentry), {vma, vma2});
    const auto [pipe, pipe_file] = guest.pipe();
    const auto [one, two] = guest.unix_pair(guest::SocketType::stream);
    guest.device({fake::address("10.0.2.15"), fake::address("fec0::1")});
    const Gva udp = guest.udp(fake::endpoint("0.0.0.0", 53));
    const Gva tcp = guest.tcp(fake::endpoint("10.0.2.15", 22), fake::endpoint("10.0.2.15", 23));
    const Gva message = guest.message_to(fake::endpoint("127.0.0.1", 53));
    for (const Gva object :
         {file, dentry, guest.inode_of(dentry), task, other, pipe_file, pipe, vma, guest.socket(one), guest.socket(two),
          guest.socket(udp), guest.socket(tcp), message, guest.mm(task), tcp, udp})
      objects.push_back(object.value);
    guest.run(vcpu, task);
    saved.assign(guest.memory.bytes().begin() + kHeap, guest.memory.bytes().begin() + kUsed);
  }
  static constexpr uint64_t kUsed = kHeap + 256 * 4096;
  void restore() { std::memcpy(guest.memory.bytes().data() + kHeap, saved.data(), saved.size()); }

  FakeGuest guest;
  fake::FakeVcpu vcpu;
  std::vector<uint64_t> objects;
  std::vector<std::byte> saved;
};

void run_sane(Input& script, Input& memory, bool changing) {
  static SaneGuest world;
  world.restore();
  FakeGuest& guest = world.guest;
  scatter(guest, memory, false);
  static labels::PatternSet patterns;
  NullReporter reporter;
  labels::Carriers state(1024, 1);
  hooks::Environment environment(guest.kernel(), state, patterns, {}, reporter);
  // Under our hands: words change back and forth while the handlers run.
  std::unique_ptr<std::thread> changer;
  std::atomic<bool> stop{false};
  if (changing) {
    const auto seed = script.take<uint32_t>();
    changer = std::make_unique<std::thread>([&stop, seed, bytes = guest.memory.bytes().data()] {
      uint32_t x = seed | 1;
      while (!stop.load(std::memory_order_relaxed)) {
        x = x * 1664525 + 1013904223;
        auto* word = reinterpret_cast<volatile uint64_t*>(bytes + kHeap + (x >> 3) % (128 * 512) * 8);
        *word = plausible(static_cast<uint8_t>(x >> 5), x >> 7);
      }
    });
  }
  const auto points = hooks::hook_points();
  for (int i = 0; i < 40; ++i) {
    const auto which = script.take<uint8_t>();
    const auto picks = script.take<uint32_t>();
    const auto object = [&](unsigned shift) { return world.objects[(picks >> shift & 31) % world.objects.size()]; };
    world.vcpu.set_arguments({object(0), picks & 0x80000000 ? object(5) : picks >> 5 & 7, object(10), 0, picks >> 20});
    const uint64_t start = now_ms();
    hooks::Operation operation(environment, world.vcpu);
    if (which & 0x80) (void)state.add(1, operation.process());
    const hooks::HookPoint& point = points[which % points.size()];
    hooks::dispatch(point, operation);
    check_time(start, point.what.data());
  }
  stop = true;
  if (changer) changer->join();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 64) return 0;
  const size_t script_size = size / 4;
  Input script(data, script_size), memory(data + script_size, size - script_size);
  const auto mode = script.take<uint8_t>();
  if (mode % 4 >= 2) {
    run_sane(script, memory, mode % 64 == 63);  // rarely: it cannot be reproduced for certain
    return 0;
  }
  static World world;
  FakeGuest& guest = world.guest;
  std::memset(guest.memory.bytes().data() + kHeap, 0, kObjects * 4096);
  // Whatever the image holds besides addresses: init_task, the table of UDP sockets.
  for (const Symbol symbol : {Symbol::init_task, Symbol::udp_table, Symbol::init_nsproxy})
    for (uint64_t i = 0; i < 0x600; i += 8)
      guest.write(guest.symbol(symbol) + i, kDirectMap.value + kHeap + i * 7 % kObjects * 4096);
  scatter(guest, memory, true);
  fake::FakeVcpu vcpu;
  vcpu.set(arch::Reg::gs_base, plausible(script.take<uint8_t>(), script.take<uint16_t>()));
  if (mode % 4 == 0) {
    run_handlers(guest, script, vcpu, 8);
  } else {
    for (int i = 0; i < 4; ++i) run_readers(guest, plausible(script.take<uint8_t>(), script.take<uint16_t>()));
  }
  return 0;
}
