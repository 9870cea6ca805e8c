#include "disk/qcow2.h"

#include <algorithm>
#include <cstdint>

namespace oboro::disk {
namespace {

constexpr std::string_view kMagic = "QFI\xfb";
constexpr size_t kHeader2 = 72, kHeader3 = 104;  // bytes, at least, of versions 2 and 3
constexpr uint32_t kMinClusterBits = 9, kMaxClusterBits = 21;
constexpr uint32_t kMaxName = 1023;
constexpr uint64_t kIncompatibleDataFile = 1 << 2;
constexpr uint32_t kExtensionEnd = 0, kExtensionBackingFormat = 0xe2792aca, kExtensionDataFile = 0x44415441;

Error damaged(const char* what) { return {Errc::invalid, std::string("the qcow2 header is damaged: ") + what}; }

// at + 4 and at + 8 are within `bytes`.
uint32_t be32(std::string_view bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
  return value;
}
uint64_t be64(std::string_view bytes, size_t at) { return uint64_t{be32(bytes, at)} << 32 | be32(bytes, at + 4); }

// area: the bytes between the header and the end of the extensions. It begins with an extension.
Result<void> read_extensions(std::string_view area, Qcow2Header& header) {
  while (area.size() >= 8) {
    const uint32_t type = be32(area, 0), length = be32(area, 4);
    if (type == kExtensionEnd) return {};
    area.remove_prefix(8);
    if (length > area.size()) return damaged("an extension is longer than the room for it");
    const std::string_view content = area.substr(0, length);
    if (type == kExtensionBackingFormat || type == kExtensionDataFile) {
      if (length > kMaxName) return damaged("a name is too long");
      if (type == kExtensionDataFile)
        header.data = content;
      else
        header.backing_format = content;
    }
    area.remove_prefix(std::min(area.size(), (size_t{length} + 7) & ~size_t{7}));
  }
  return {};
}

}  // namespace

bool looks_like_qcow2(std::string_view start) { return start.starts_with(kMagic); }

Result<Qcow2Header> parse_qcow2(std::string_view start) {
  start = start.substr(0, kMaxQcow2Header);
  if (!looks_like_qcow2(start)) return Error{Errc::invalid, "it does not begin as a qcow2 image does"};
  if (start.size() < kHeader2) return damaged("the file ends in it");
  const uint32_t version = be32(start, 4);
  if (version != 2 && version != 3)
    return Error{Errc::unsupported,
                 "it is qcow of version " + std::to_string(version) + ": only 2 and 3 are supported"};
  const uint64_t backing_offset = be64(start, 8);
  const uint32_t backing_size = be32(start, 16), cluster_bits = be32(start, 20);
  if (cluster_bits < kMinClusterBits || cluster_bits > kMaxClusterBits)
    return damaged("the cluster size is impossible");
  const std::string_view cluster = start.substr(0, size_t{1} << cluster_bits);
  size_t header_size = kHeader2;
  uint64_t incompatible = 0;
  if (version == 3) {
    if (cluster.size() < kHeader3) return damaged("the file ends in it");
    incompatible = be64(cluster, 72);
    header_size = be32(cluster, 100);
    if (header_size < kHeader3 || header_size > cluster.size()) return damaged("its own size is impossible");
  }
  Qcow2Header header;
  size_t end = cluster.size();
  if (backing_offset != 0) {
    if (backing_offset < header_size || backing_offset > cluster.size() || backing_size > kMaxName ||
        backing_size > cluster.size() - backing_offset)
      return damaged("the backing file's name is outside of it");
    end = static_cast<size_t>(backing_offset);
    header.backing = cluster.substr(end, backing_size);
  }
  if (auto read = read_extensions(cluster.substr(header_size, end - header_size), header); !read) return read.error();
  if ((incompatible & kIncompatibleDataFile) == 0) {
    if (header.data) return damaged("it names a data file, and says that it has none");
  } else if (!header.data) {
    header.data = "";
  }
  return header;
}

}  // namespace oboro::disk
