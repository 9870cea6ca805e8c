// What the handling of a stop costs by itself, in cycles of this CPU: handlers on a guest in memory, in the steady
// state, in which nothing changes any more. Prints NAME CYCLES, a line each; lowest mean of many thousand-fold
// repetitions.
//
// The nested host of `bench/run kvm` cannot tell: its emulator empties the TLB at each exit, so there the first touch
// of each page of memory costs more than all of this.

#include <algorithm>
#include <cstdio>
#include <x86intrin.h>

#include "hooks/filter.h"
#include "hooks/table.h"
#include "tests/support/engine/fake_filter.h"
#include "tests/support/guest/fake_guest.h"

namespace {

using namespace oboro;

struct Silent final : hooks::Reporter {
  void report(event::Event&) override {}
  void incomplete(const char*) override {}
  void kernel_replaced() override {}
};

class Bench {
 public:
  Bench() {
    const fake::FileSystem disk = guest_.file_system(0xef53, "ext4", 0x800001, 0x10);
    guest_.mount(disk, Gva(), Gva());
    sender_ = guest_.task(100, "sender"), receiver_ = guest_.task(200, "receiver");
    const auto [from, to] = guest_.unix_pair(guest::SocketType::stream);
    const Gva sending = guest_.socket(from), receiving = guest_.socket(to);
    const auto [pipe, pipe_file] = guest_.pipe();
    const Gva file = guest_.open(guest_.make_file(disk, "plain", 12));
    environment_ =
        std::make_unique<hooks::Environment>(guest_.kernel(), state_, patterns_, policy::Policy{}, reporter_);
    environment_->filter = &filter_;
    for (const uint32_t tgid : {100U, 200U}) (void)state_.add(1, {labels::CarrierKind::process, tgid});

    constexpr uint64_t kRead = 4, kWrite = 2;
    measure("sendto, UNIX stream", guest::Symbol::fn_socket_sendmsg, sender_, {sending.value, 0, 64});
    measure("recvfrom, UNIX stream", guest::Symbol::fn_socket_recvmsg, receiver_, {receiving.value, 0, 64});
    measure("write to a pipe", guest::Symbol::fn_file_permission, sender_, {pipe_file.value, kWrite});
    measure("read from a pipe", guest::Symbol::fn_file_permission, receiver_, {pipe_file.value, kRead});
    measure("write to a file", guest::Symbol::fn_file_permission, sender_, {file.value, kWrite});
    measure("read from a file", guest::Symbol::fn_file_permission, receiver_, {file.value, kRead});
  }

 private:
  void measure(const char* name, guest::Symbol function, Gva task, std::initializer_list<uint64_t> arguments) {
    const auto points = hooks::hook_points();
    const auto point = std::find_if(points.begin(), points.end(), [&](auto& p) { return p.function == function; });
    guest_.run(vcpu_, task);
    vcpu_.set_arguments(arguments);
    uint64_t best = UINT64_MAX;
    constexpr int kTimes = 1000;
    for (int round = 0; round < 200; ++round) {
      const uint64_t begin = __rdtsc();
      for (int i = 0; i < kTimes; ++i) {
        hooks::Operation operation(*environment_, vcpu_);
        hooks::dispatch(*point, operation);
      }
      best = std::min<uint64_t>(best, (__rdtsc() - begin) / kTimes);
    }
    std::printf("%s\t%lu\n", name, best);
  }

  fake::FakeGuest guest_;
  fake::FakeVcpu vcpu_;
  fake::FakeFilter filter_;
  labels::Carriers state_{4096, 1};
  labels::PatternSet patterns_;
  Silent reporter_;
  std::unique_ptr<hooks::Environment> environment_;
  Gva sender_, receiver_;
};

}  // namespace

int main() {
  const Bench bench;
  return 0;
}
