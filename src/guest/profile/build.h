// Builds a Profile from a snapshot of a running kernel's image, in which it finds kallsyms tables and BTF by their
// form. Every byte is hostile input. Runs only in the sandboxed oboro-profile process (and in tests and fuzzers).
#pragma once

#include <cstdint>
#include <span>

#include "base/address.h"
#include "base/result.h"
#include "guest/profile/profile.h"

namespace oboro::guest {

// image: the bytes mapped at image_base (a kernel virtual address, 2 MiB aligned, the KASLR-shifted _text), contiguous,
//        up to the end of the kernel image mapping; holes in the mapping are zero bytes.
// Errors: not_found (no kallsyms, no BTF: says which), unsupported (a required member or symbol is missing: names all),
//         invalid (the tables contradict themselves).
// Bounded: at most a few passes over the image; no recursion on guest data; memory within a small multiple of the
// image.
Result<Profile> build_profile(std::span<const std::byte> image, Gva image_base);

// The kernel's GNU build ID as lower-case hex: the key of the profile cache. Cheap (one pass), as it is used before
// anything is parsed. Empty if there is none. The image holds other build-ID notes, too: the vDSO's, and those of files
// that the guest keeps in image memory which the kernel no longer needs. The kernel's own note (.notes) stands right
// before its BTF.
std::string kernel_build_id(std::span<const std::byte> image);

}  // namespace oboro::guest
