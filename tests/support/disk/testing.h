// Support for tests of disks: headers of qcow2 images, and a directory to put them in.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <string>
#include <string_view>

namespace oboro::disk::testing {

inline void put32(std::string& bytes, size_t at, uint32_t value) {
  for (size_t i = 0; i < 4; ++i) bytes[at + i] = static_cast<char>(value >> (24 - 8 * i));
}
inline void put64(std::string& bytes, size_t at, uint64_t value) {
  put32(bytes, at, static_cast<uint32_t>(value >> 32));
  put32(bytes, at + 4, static_cast<uint32_t>(value));
}

inline void add_extension(std::string& header, size_t& at, uint32_t type, std::string_view content) {
  put32(header, at, type);
  put32(header, at + 4, static_cast<uint32_t>(content.size()));
  header.replace(at + 8, content.size(), content);
  at += 8 + (content.size() + 7) / 8 * 8;
}

struct HeaderNames {
  std::string_view backing{}, backing_format{};
  bool data_bit = false;
  std::string_view data{};
};

// The first cluster (64 KiB) and tables of an empty image of `size` bytes, that QEMU takes.
inline std::string qcow2_image(const HeaderNames& names = {}, uint64_t size = 1 << 20) {
  constexpr uint64_t kCluster = 1 << 16;
  std::string image(4 * kCluster, '\0');
  image.replace(0, 4, "QFI\xfb");
  put32(image, 4, 3);
  put32(image, 20, 16);
  put64(image, 24, size);
  put32(image, 36, 1);             // L1 entries
  put64(image, 40, 3 * kCluster);  // L1 table
  put64(image, 48, kCluster);      // refcount table
  put32(image, 56, 1);
  if (names.data_bit) put64(image, 72, 4);
  put32(image, 96, 4);
  put32(image, 100, 104);
  put64(image, kCluster, 2 * kCluster);  // the one refcount block
  for (size_t i = 0; i < 4; ++i) image[2 * kCluster + 2 * i + 1] = 1;
  size_t at = 104;
  if (!names.backing_format.empty()) add_extension(image, at, 0xe2792aca, names.backing_format);
  if (!names.data.empty()) add_extension(image, at, 0x44415441, names.data);
  if (!names.backing.empty()) {
    put64(image, 8, at + 8);
    put32(image, 16, static_cast<uint32_t>(names.backing.size()));
    image.replace(at + 8, names.backing.size(), names.backing);
  }
  return image;
}

class DirectoryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/oboro-disk-XXXXXX";
    ASSERT_TRUE(mkdtemp(path));
    top_ = std::filesystem::canonical(path);
  }
  void TearDown() override { std::filesystem::remove_all(top_); }
  std::string path(const std::string& name) const { return top_ + "/" + name; }
  std::string write(const std::string& name, std::string_view content) const {
    std::ofstream(path(name), std::ios::binary) << content;
    return path(name);
  }
  std::string top_;
};

}  // namespace oboro::disk::testing
