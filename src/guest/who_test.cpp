#include "guest/who.h"

#include <cstring>
#include <gtest/gtest.h>

#include "tests/support/guest/fake_guest.h"

namespace oboro::guest {
namespace {

using fake::FakeGuest;
using Arguments = std::vector<std::string>;

constexpr Gva kStack{0x7ffc00000000};

struct Who : ::testing::Test {
  // arg_start to arg_end are these bytes, `before_end` bytes before the end of a page.
  void give_arguments(std::string_view bytes, size_t before_end, uint64_t mapped = fake::kPageSize) {
    const auto page = guest.map_user(kStack, mapped);
    const uint64_t start = fake::kPageSize - before_end;
    std::memcpy(page.data() + start, bytes.data(), std::min(bytes.size(), page.size() - start));
    const Gva mm = guest.mm(task);
    guest.set(mm, Field::mm_pgd, fake::kDirectMap + guest.memory.root());
    guest.set(mm, Field::mm_arg_start, kStack.value + start);
    guest.set(mm, Field::mm_arg_end, kStack.value + start + bytes.size());
  }
  Arguments read() {
    Reader r(guest.kernel());
    return arguments(r, Task{task});
  }

  FakeGuest guest;
  Gva task = guest.task(100, "cat");
};

TEST_F(Who, Arguments) {
  give_arguments(std::string_view("cat\0\0/srv/a b\0", 14), 64);
  EXPECT_EQ(read(), (Arguments{"cat", "", "/srv/a b"}));
}

TEST_F(Who, ArgumentsEndWhereRamDoes) {
  give_arguments("cat\0/srv/secret/a", 8);
  EXPECT_EQ(read(), (Arguments{"cat"})) << "a C string of 3";
  give_arguments(std::string_view("cat\0/srv/secret/a\0", 18), 8);
  EXPECT_EQ(read(), (Arguments{"cat", "/srv"})) << "the next page is not there";
}

TEST_F(Who, ArgumentsAreBounded) {
  give_arguments(std::string(2 * fake::kPageSize, 'x'), fake::kPageSize, 3 * fake::kPageSize);
  EXPECT_EQ(read(), Arguments{std::string(kMaxArgumentBytes, 'x')});
  give_arguments(std::string(1000, '\0'), fake::kPageSize);
  EXPECT_EQ(read().size(), kMaxArguments);
}

TEST_F(Who, NonsenseIsNoArguments) {
  give_arguments("cat", 64);
  guest.set(guest.mm(task), Field::mm_arg_end, uint64_t{1});
  EXPECT_EQ(read(), Arguments{});
  guest.set(guest.mm(task), Field::mm_arg_start, fake::kDirectMap.value);
  guest.set(guest.mm(task), Field::mm_arg_end, ~uint64_t{0});
  EXPECT_EQ(read(), Arguments{}) << "kernel memory";
  guest.set(guest.mm(task), Field::mm_pgd, uint64_t{0x1234});
  EXPECT_EQ(read(), Arguments{});
}

TEST_F(Who, ArgumentsOfAProgramToBe) {
  give_arguments(std::string_view("sh\0-c\0true\0HOME=/\0", 18), 64);
  const Gva program = guest.allocate();
  guest.set(program, Field::binprm_mm, guest.mm(task));
  guest.set(program, Field::binprm_p, kStack.value + fake::kPageSize - 64);
  guest.set(program, Field::binprm_argc, uint32_t{3});
  Reader r(guest.kernel());
  EXPECT_EQ(arguments_of_program(r, program), (Arguments{"sh", "-c", "true"}));
}

TEST_F(Who, Users) {
  const Gva cred = guest.allocate();
  guest.set(cred, Field::cred_uid, uint32_t{0});
  guest.set(task, Field::task_cred, cred);
  guest.set(task, Field::task_loginuid, uint32_t{1000});
  Reader r(guest.kernel());
  EXPECT_EQ(user(r, Task{task}), 0u);
  EXPECT_EQ(login_user(r, Task{task}), 1000u);
  guest.set(task, Field::task_loginuid, UINT32_MAX);
  EXPECT_EQ(login_user(r, Task{task}), std::nullopt);
  guest.hide(cred);
  EXPECT_EQ(user(r, Task{task}), std::nullopt);
}

TEST_F(Who, Parent) {
  const Gva shell = guest.task(50, "sh");
  guest.set(task, Field::task_real_parent, shell);
  Reader r(guest.kernel());
  EXPECT_EQ(parent(r, Task{task}), 50u);
}

TEST_F(Who, AKernelWithoutThem) {
  for (const Field field : {Field::task_cred, Field::task_loginuid, Field::mm_arg_start, Field::binprm_mm})
    fake::set_missing(guest.profile, field);
  Reader r(guest.kernel());
  EXPECT_EQ(user(r, Task{task}), std::nullopt);
  EXPECT_EQ(login_user(r, Task{task}), std::nullopt);
  EXPECT_EQ(arguments(r, Task{task}), Arguments{});
  EXPECT_EQ(arguments_of_program(r, task), Arguments{});
}

TEST(Runner, UnitAndContainer) {
  const std::string id(64, 'a');
  const auto check = [](const std::string& cgroup, const std::string& unit, const std::string& container) {
    const Runner runner = runner_of(cgroup);
    EXPECT_EQ(runner.unit, unit) << cgroup;
    EXPECT_EQ(runner.container, container) << cgroup;
  };
  check("", "", "");
  check("/", "", "");
  check("/system.slice/ssh.service", "ssh.service", "");
  check("/user.slice/user-1000.slice/session-3.scope", "session-3.scope", "");
  check("/user.slice/user-1000.slice/user@1000.service/app.slice/foot.service", "foot.service", "");
  check("/system.slice/docker-" + id + ".scope", "docker-" + id + ".scope", id);
  check("/docker/" + id, "", id);
  check("/machine.slice/libpod-" + id + ".scope/container", "libpod-" + id + ".scope", id);
  check("/kubepods.slice/kubepods-pod1.slice/cri-containerd-" + id + ".scope", "cri-containerd-" + id + ".scope", id);
  check("/kubepods/besteffort/pod1/" + id, "", id);
  check("/system.slice/docker-" + id.substr(1) + ".scope", "docker-" + id.substr(1) + ".scope", "");
  check("/x/" + std::string(64, 'g'), "", "");
  check("/x/evil-" + id, "", "");
}

}  // namespace
}  // namespace oboro::guest
