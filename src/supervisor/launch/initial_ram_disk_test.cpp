#include "supervisor/launch/initial_ram_disk.h"

#include <archive.h>
#include <archive_entry.h>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <map>
#include <stdlib.h>
#include <unistd.h>

namespace oboro::supervisor {
namespace {

class InitialRamDiskTest : public testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/oboro-initrd-XXXXXX";
    ASSERT_TRUE(mkdtemp(path));
    top = path;
  }
  void TearDown() override { std::filesystem::remove_all(top); }
  std::string write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories(std::filesystem::path(top + "/" + name).parent_path());
    std::ofstream(top + "/" + name) << text;
    return top + "/" + name;
  }
  std::string top;
};

TEST_F(InitialRamDiskTest, ReadsTheReleaseOfAKernelImage) {
  std::string image(0x1000, '\0');
  image.replace(0x202, 4, "HdrS");
  image[0x20e] = '\x00';
  image[0x20f] = '\x04';  // 0x400 behind the first sector
  image.replace(0x600, 40, "6.1.0-50-cloud-amd64 (debian-kernel@...) ");
  const auto release = kernel_release(write("vmlinuz", image));
  ASSERT_TRUE(release) << release.error().message;
  EXPECT_EQ(*release, "6.1.0-50-cloud-amd64");
}

TEST_F(InitialRamDiskTest, SaysWhichFileIsNoKernel) {
  const std::string lying = write("lying", std::string(0x202, '\0') + "HdrS" + std::string(10, '\xff'));
  for (const std::string& path : {write("empty", ""), write("text", std::string(0x1000, 'x')), top + "/none", lying}) {
    const auto release = kernel_release(path);
    ASSERT_FALSE(release);
    EXPECT_NE(release.error().message.find(path), std::string::npos) << release.error().message;
  }
}

TEST_F(InitialRamDiskTest, OrdersModulesByWhatTheyNeed) {
  write("modules.dep",
        "kernel/a/virtio-net.ko.xz: kernel/b/net_failover.ko.xz kernel/b/failover.ko.xz\n"
        "kernel/b/net_failover.ko.xz: "
        "kernel/b/failover.ko.xz\nkernel/b/failover.ko.xz:\nkernel/c/blk.ko:kernel/b/failover.ko.xz\n");
  write("modules.builtin", "kernel/fs/ext4/ext4.ko\n");
  const auto order = modules_in_order(top, {"virtio_net", "ext4", "blk"}, {"not_there"});
  ASSERT_TRUE(order) << order.error().message;
  EXPECT_EQ(*order, (std::vector<std::string>{top + "/kernel/b/failover.ko.xz", top + "/kernel/b/net_failover.ko.xz",
                                              top + "/kernel/a/virtio-net.ko.xz", top + "/kernel/c/blk.ko"}));
  EXPECT_FALSE(modules_in_order(top, {"virtio_console"}, {}));
  EXPECT_FALSE(modules_in_order(top + "/none", {}, {}));
}

TEST_F(InitialRamDiskTest, HoldsTheProgramTheModulesAndTheTexts) {
  const std::string program = write("program", std::string(100000, 'p'));
  const std::string module = write("kernel/x.ko", "module");
  const auto disk = initial_ram_disk(program, {module}, {{"/oboro/arguments", "--network\nnone\n"}});
  ASSERT_TRUE(disk) << disk.error().message;
  ASSERT_EQ(lseek(disk->get(), 0, SEEK_SET), 0);
  archive* reader = archive_read_new();
  archive_read_support_format_cpio(reader);
  ASSERT_EQ(archive_read_open_fd(reader, disk->get(), 4096), ARCHIVE_OK);
  std::map<std::string, std::string> found;
  std::map<std::string, mode_t> modes;
  for (archive_entry* entry; archive_read_next_header(reader, &entry) == ARCHIVE_OK;) {
    std::string content(static_cast<size_t>(archive_entry_size(entry)), '\0');
    EXPECT_EQ(archive_read_data(reader, content.data(), content.size()), static_cast<la_ssize_t>(content.size()));
    modes[archive_entry_pathname(entry)] = archive_entry_perm(entry);
    found[archive_entry_pathname(entry)] = std::move(content);
  }
  archive_read_free(reader);
  EXPECT_EQ(found["init"], std::string(100000, 'p'));
  EXPECT_EQ(modes["init"], 0755u);
  EXPECT_EQ(found["modules/x.ko"], "module");
  EXPECT_EQ(found["oboro/modules"], "/modules/x.ko\n");
  EXPECT_EQ(found["oboro/arguments"], "--network\nnone\n");
  EXPECT_TRUE(found.count("dev/console"));
  EXPECT_FALSE(initial_ram_disk(top + "/none", {}, {}));
}

}  // namespace
}  // namespace oboro::supervisor
