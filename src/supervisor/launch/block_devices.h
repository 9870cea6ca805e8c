// The disks of a guest as arguments of QEMU. Every node has its driver and its files named, so that QEMU probes no
// format and follows no name that an image contains.
#pragma once

#include <string>
#include <vector>

#include "disk/resolve.h"

namespace oboro::supervisor {

struct BlockDevices {
  std::vector<std::string> nodes;    // -blockdev ...
  std::vector<std::string> devices;  // -device ...: the guest's view, in the order of the disks
};

BlockDevices block_devices(const std::vector<disk::ResolvedDisk>& disks);

}  // namespace oboro::supervisor
