// The arguments, and what a real QEMU does with them.
#include "supervisor/launch/block_devices.h"

#include <algorithm>
#include <cstdio>
#include <unistd.h>

#include "supervisor/launch/machine.h"
#include "tests/support/disk/testing.h"

namespace oboro::supervisor {
namespace {

using disk::testing::qcow2_image;

constexpr char kSecret[] = "theSecretOfTheHost";

class BlockDevicesTest : public disk::testing::DirectoryTest {
 protected:
  void SetUp() override {
    DirectoryTest::SetUp();
    secret_ = write("secret", kSecret + std::string(4096 - sizeof kSecret, '.'));
  }

  Result<std::vector<disk::ResolvedDisk>> resolve(const std::string& option) const {
    auto disk = disk::parse_option(option);
    if (!disk) return disk.error();
    return disk::resolve({*disk}, top_);
  }

  // The disk's first 512 bytes as QEMU shows them to a reader inside the guest; nothing: QEMU did not start.
  std::string read(const std::string& qemu, const std::vector<disk::ResolvedDisk>& disks) const {
    std::vector<std::string> words = {"timeout",  "60",   qemu, "-machine", "none", "-nodefaults",
                                      "-display", "none", "-S", "-monitor", "stdio"};
    const BlockDevices block = block_devices(disks);
    words.insert(words.end(), block.nodes.begin(), block.nodes.end());
    std::string line;
    for (const std::string& word : words) {
      line += " '";
      for (const char c : word) line += c == '\'' ? "'\\''" : std::string(1, c);
      line += "'";
    }
    write("commands", "qemu-io oboro-disk0-0 \"read -v 0 512\"\nquit\n");
    write("line", line + " <" + path("commands") + " 2>&1\n");
    FILE* pipe = popen(("sh " + path("line")).c_str(), "re");
    if (!pipe) return {};
    std::string out;
    char buffer[4096];
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, pipe)) > 0;) out.append(buffer, n);
    const int status = pclose(pipe);
    EXPECT_EQ(status, 0) << out;
    // The text column of "00000000:  74 68 65 53 ...  theSecretOfTheHo". A byte that is no letter or digit is a dot
    // there.
    std::string text;
    for (size_t at = 0; at < out.size();) {
      const size_t end = std::min(out.find('\n', at), out.size());
      std::string_view one(out.data() + at, end - at);
      while (one.ends_with('\r')) one.remove_suffix(1);
      if (one.size() > 60 && one.substr(8, 3) == ":  ") text += one.substr(one.size() - 16);
      at = end + 1;
    }
    EXPECT_EQ(text.size(), 512u) << out;
    return text;
  }

  std::string secret_;
};

std::string qemu_or_none() {
  const Result<std::string> found = find_qemu();
  return found ? *found : "";
}

TEST_F(BlockDevicesTest, EveryNodeIsExplicit) {
  const BlockDevices block = block_devices(
      {{{{"/a,b", false}, disk::Format::raw}},
       {{{"/top", false}, disk::Format::qcow2, disk::File{"/data", false}}, {{"/dev/x", true}, disk::Format::qcow2}}});
  EXPECT_EQ(
      block.nodes,
      (std::vector<std::string>{
          "-blockdev", "driver=file,node-name=oboro-disk0-0-file,auto-read-only=on,filename=/a,,b", "-blockdev",
          R"({"driver":"raw","node-name":"oboro-disk0-0","auto-read-only":true,"file":"oboro-disk0-0-file"})",
          "-blockdev", "driver=host_device,node-name=oboro-disk1-1-file,read-only=on,filename=/dev/x", "-blockdev",
          R"({"driver":"qcow2","node-name":"oboro-disk1-1","read-only":true,"file":"oboro-disk1-1-file","backing":null})",
          "-blockdev", "driver=file,node-name=oboro-disk1-0-file,auto-read-only=on,filename=/top", "-blockdev",
          "driver=file,node-name=oboro-disk1-0-data,auto-read-only=on,filename=/data", "-blockdev",
          R"({"driver":"qcow2","node-name":"oboro-disk1-0","auto-read-only":true,"file":"oboro-disk1-0-file","data-file":"oboro-disk1-0-data","backing":"oboro-disk1-1"})"}));
  EXPECT_EQ(block.devices, (std::vector<std::string>{"-device", "virtio-blk-pci,drive=oboro-disk0-0", "-device",
                                                     "virtio-blk-pci,drive=oboro-disk1-0"}));
}

// Two runs of a guest that wants to read a file of the host.
TEST_F(BlockDevicesTest, AGuestDoesNotReadTheHostsFilesByAHeaderOnItsRawDisk) {
  const std::string qemu = qemu_or_none();
  if (qemu.empty()) GTEST_SKIP() << "this host: it has no QEMU";
  const std::string disk = write("disk.img", std::string(1 << 20, 'x'));
  auto disks = resolve(disk);
  ASSERT_TRUE(disks) << disks.error().message;
  EXPECT_EQ(read(qemu, *disks), std::string(512, 'x'));

  for (const std::string& header :
       {qcow2_image({.backing = secret_, .backing_format = "raw"}), qcow2_image({.data_bit = true, .data = secret_})}) {
    write("disk.img", header);
    disks = resolve(disk);
    EXPECT_FALSE(disks);
    EXPECT_FALSE(resolve(disk + ",format=qcow2"));
    // It does not do so either where no format is remembered.
    std::filesystem::rename(path("disks.json"), path("away"));
    EXPECT_FALSE(resolve(disk));
    std::filesystem::rename(path("away"), path("disks.json"));
    // With its true format, the guest has what it wrote.
    disks = resolve(disk + ",format=raw");
    ASSERT_TRUE(disks) << disks.error().message;
    EXPECT_EQ(read(qemu, *disks).substr(0, 3), "QFI");
  }
}

// The file that was checked may be another one when QEMU opens it.
TEST_F(BlockDevicesTest, QemuDoesNotGoByTheHeader) {
  const std::string qemu = qemu_or_none();
  if (qemu.empty()) GTEST_SKIP() << "this host: it has no QEMU";
  const std::string disk = write("disk.qcow2", qcow2_image());
  const std::string middle = write("middle.qcow2", qcow2_image({.backing = "never looked at"}));
  auto disks = resolve(disk);
  ASSERT_TRUE(disks) << disks.error().message;
  write("disk.qcow2", qcow2_image({.backing = secret_, .backing_format = "raw"}));
  EXPECT_EQ(read(qemu, *disks).find("Secret"), std::string::npos);

  // The files are those that were named, and the chain ends where it was said to.
  disks = resolve(disk + ",backing=" + secret_ + ",backing-format=raw");
  ASSERT_TRUE(disks) << disks.error().message;
  EXPECT_TRUE(read(qemu, *disks).starts_with(kSecret));
  const std::string other = write("other", "anotherOne" + std::string(4096, '.'));
  disks = resolve(disk + ",backing=" + middle + ",backing-format=qcow2,backing=" + other + ",backing-format=raw");
  ASSERT_TRUE(disks) << disks.error().message;
  EXPECT_TRUE(read(qemu, *disks).starts_with("anotherOne"));
  // A raw backing file that begins like a qcow2 file is not looked into.
  write("other", qcow2_image({.backing = secret_, .backing_format = "raw"}));
  EXPECT_TRUE(read(qemu, *disks).starts_with("QFI"));
}

TEST_F(BlockDevicesTest, ADataFileThatWasNamed) {
  const std::string qemu = qemu_or_none();
  if (qemu.empty()) GTEST_SKIP() << "this host: it has no QEMU";
  // Its first cluster is in the data file. The file that the header names does not exist.
  std::string image = qcow2_image({.data_bit = true, .data = "/nonexistent"});
  image.resize(image.size() + (1 << 16));
  disk::testing::put64(image, 3 << 16, uint64_t{1} << 63 | (4 << 16));
  disk::testing::put64(image, 4 << 16, uint64_t{1} << 63);
  const std::string data = write("data", "theData" + std::string((1 << 20) - 8, '.'));
  const auto disks = resolve(write("disk", image) + ",data=" + data);
  ASSERT_TRUE(disks) << disks.error().message;
  EXPECT_TRUE(read(qemu, *disks).starts_with("theData"));
}

TEST_F(BlockDevicesTest, NamesOfFilesAreOnlyNames) {
  const std::string qemu = qemu_or_none();
  if (qemu.empty()) GTEST_SKIP() << "this host: it has no QEMU";
  ASSERT_EQ(chdir(top_.c_str()), 0);
  for (const std::string name : {"a,b=c,,", "json:{}", "nbd:localhost:1", "\"q\\ '", "\xff\xfe"}) {
    write(name, std::string(1024, 'y'));
    std::string option;
    for (const char c : name) option += c == ',' ? ",," : std::string(1, c);
    const auto disks = resolve(option);
    ASSERT_TRUE(disks) << disks.error().message;
    EXPECT_EQ(read(qemu, *disks), std::string(512, 'y')) << name;
  }
}

}  // namespace
}  // namespace oboro::supervisor
