// The page cache: the bytes of a regular file that the guest's kernel holds in RAM.
//
// inode.i_mapping -> address_space.i_pages, an xarray (include/linux/xarray.h) -> folio -> struct page -> its frame, by
// the page's place in vmemmap -> the frame in the direct map.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "guest/file.h"
#include "guest/kernel.h"

namespace oboro::guest {

// Copies the file's bytes from `offset` on, whatever its size is. True only if each byte is in a page that is in the
// cache, up to date, and still the file's after the copy. Otherwise out means nothing. Bytes that are only on disk,
// swapped out or in a hole are not cached.
//
// Reads: some 10 for each page of 4 KiB that out covers, 80 at most.
// Threads: any; the guest may go on meanwhile. A write to the file meanwhile may be seen half done: the caller has to
// look whether the file has changed.
bool read_cached(Reader& r, Inode file, uint64_t offset, std::span<std::byte> out);

}  // namespace oboro::guest
