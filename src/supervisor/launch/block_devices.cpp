#include "supervisor/launch/block_devices.h"

#include <fmt/format.h>

#include "supervisor/launch/machine.h"

namespace oboro::supervisor {
namespace {

// Not as JSON, because a file's name may be any bytes, and QEMU's JSON is UTF-8. Not as -drive file=NAME, because that
// takes "json:..." and "nbd:..." for more than a name.
std::string file_node(const std::string& node, const disk::File& file, bool writable) {
  return fmt::format("driver={},node-name={},{},filename={}", file.block_device ? "host_device" : "file", node,
                     // A file that may only be read is a disk that can only be read.
                     writable ? "auto-read-only=on" : "read-only=on", qemu_escape(file.path));
}

}  // namespace

BlockDevices block_devices(const std::vector<disk::ResolvedDisk>& disks) {
  BlockDevices result;
  const auto node = [&](std::string text) {
    result.nodes.emplace_back("-blockdev");
    result.nodes.push_back(std::move(text));
  };
  for (size_t number = 0; number < disks.size(); ++number) {
    const disk::ResolvedDisk& images = disks[number];
    // A node has to be there before another one refers to it.
    std::string backing = "null";
    for (size_t i = images.size(); i-- > 0;) {
      const disk::ResolvedImage& image = images[i];
      const std::string id = fmt::format("oboro-disk{}-{}", number, i);
      node(file_node(id + "-file", image.file, i == 0));
      if (image.data) node(file_node(id + "-data", *image.data, i == 0));
      node(fmt::format(R"({{"driver":"{}","node-name":"{}",{},"file":"{}-file"{}{}}})", disk::name(image.format), id,
                       i == 0 ? R"("auto-read-only":true)" : R"("read-only":true)", id,
                       image.data ? fmt::format(R"(,"data-file":"{}-data")", id) : "",
                       // Without this QEMU would go by the header.
                       image.format == disk::Format::qcow2 ? fmt::format(R"(,"backing":{})", backing) : ""));
      backing = '"' + id + '"';
    }
    result.devices.emplace_back("-device");
    result.devices.push_back(fmt::format("virtio-blk-pci,drive=oboro-disk{}-0", number));
  }
  return result;
}

}  // namespace oboro::supervisor
