// CRC-32C (Castagnoli), by the processor's own instruction where there is one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace oboro::stream {

uint32_t crc32c(std::span<const std::byte> bytes);
uint32_t crc32c_portable(std::span<const std::byte> bytes);

}  // namespace oboro::stream
