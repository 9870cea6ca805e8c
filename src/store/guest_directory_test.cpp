#include "store/guest_directory.h"

#include <filesystem>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "store/state_dir.h"
#include "tests/support/store/testing.h"

namespace oboro::store {
namespace {

const std::string kFirst = "01234567-89ab-cdef-0123-456789abcdef", kSecond = "11111111-1111-1111-1111-111111111111";

class GuestDirectoryTest : public ::testing::Test {
 protected:
  std::string path(const std::string& name) const { return directory.path() + "/" + name; }
  GuestDirectory found(const std::string& name, const std::string& uuid) const {
    auto result = guest_directory(directory.path(), name, uuid);
    EXPECT_TRUE(result) << result.error().message;
    return result ? *result : GuestDirectory{};
  }
  Error refused(const std::string& name, const std::string& uuid) const {
    auto result = guest_directory(directory.path(), name, uuid);
    EXPECT_FALSE(result);
    return result ? Error{} : result.error();
  }
  // As an older version made it.
  void make(const std::string& name) const {
    ASSERT_TRUE(create_state_directory(path(name)));
    directory.write(name + "/events.jsonl", name);
  }
  testing::TempDirectory directory;
};

TEST_F(GuestDirectoryTest, UuidsAreTakenAsQemuTakesThem) {
  EXPECT_EQ(*parse_uuid("01234567-89AB-CDEF-0123-456789ABCDEF"), kFirst);
  EXPECT_EQ(*parse_uuid("00000000-0000-0000-0000-000000000000"), "");
  for (const char* bad : {"", "x", "0123456789abcdef0123456789abcdef", "01234567-89ab-cdef-0123-456789abcdeg",
                          "01234567-89ab-cdef-0123-456789abcdef0", "../34567-89ab-cdef-0123-456789abcdef"})
    EXPECT_EQ(parse_uuid(bad).error().code, Errc::invalid) << bad;
}

TEST_F(GuestDirectoryTest, AGuestThatIsRenamedKeepsItsDirectory) {
  const GuestDirectory before = found("web", kFirst);
  EXPECT_EQ(before.path, path(kFirst));
  EXPECT_EQ(before.taken_over, "");
  EXPECT_EQ(found("shop", kFirst).path, before.path);
  EXPECT_FALSE(std::filesystem::exists(path("web")));
}

TEST_F(GuestDirectoryTest, ANameThatIsUsedAgainInheritsNothing) {
  const GuestDirectory first = found("web", kFirst), second = found("web", kSecond);
  EXPECT_NE(first.path, second.path);
  EXPECT_EQ(second.taken_over, "");
}

TEST_F(GuestDirectoryTest, ADirectoryOfANameIsTakenOverOnce) {
  make("web");
  const GuestDirectory first = found("web", kFirst);
  EXPECT_EQ(first.path, path(kFirst));
  EXPECT_EQ(first.taken_over, path("web"));
  EXPECT_EQ(directory.read(kFirst + "/events.jsonl"), "web");
  EXPECT_EQ(directory.read(kFirst + "/uuid"), kFirst + "\n");
  EXPECT_EQ(found("web", kFirst).taken_over, "");
  EXPECT_EQ(found("web", kSecond).taken_over, "");
  EXPECT_EQ(directory.read(kSecond + "/events.jsonl"), "");
}

TEST_F(GuestDirectoryTest, ADirectoryThatIsInUseOrUnsafeIsNotTakenOver) {
  make("web");
  {
    const auto lock = StateLock::take(path("web"));
    ASSERT_TRUE(lock);
    EXPECT_EQ(refused("web", kFirst).code, Errc::limit);
  }
  ASSERT_EQ(::chmod(path("web").c_str(), 0777), 0);
  EXPECT_EQ(refused("web", kFirst).code, Errc::invalid);
  EXPECT_FALSE(std::filesystem::exists(path(kFirst)));
}

TEST_F(GuestDirectoryTest, AnotherGuestsDirectoryIsRefused) {
  EXPECT_EQ(found("web", kFirst).path, path(kFirst));
  std::filesystem::rename(path(kFirst), path(kSecond));
  const Error other = refused("web", kSecond);
  EXPECT_EQ(other.code, Errc::invalid);
  EXPECT_NE(other.message.find(kFirst), std::string::npos) << other.message;
  EXPECT_NE(refused(kSecond, "").message.find("has no UUID"), std::string::npos) << "a name that looks like a UUID";
  directory.write(kSecond + "/uuid", "nonsense");
  EXPECT_NE(refused("web", kSecond).message.find("is not a UUID"), std::string::npos);
}

TEST_F(GuestDirectoryTest, WithoutAUuidTheNameCounts) {
  make("web");
  EXPECT_EQ(found("web", "").path, path("web"));
  EXPECT_EQ(found("db", "").path, path("db"));
}

}  // namespace
}  // namespace oboro::store
