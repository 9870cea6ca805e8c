// profile_seeds DIRECTORY: writes seeds for fuzz_kallsyms, fuzz_btf and fuzz_profile into directories of these names.
// They depend on schema.def, so they are made where they are needed instead of being kept.
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "guest/profile/build.h"
#include "tests/support/guest/fake_kernel.h"

namespace fs = std::filesystem;
using oboro::testing::KallsymsLayout;

namespace {

void write(const fs::path& path, const void* data, size_t size) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary).write(static_cast<const char*>(data), static_cast<std::streamsize>(size));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: profile_seeds DIRECTORY\n", stderr);
    return 1;
  }
  const fs::path root(argv[1]);
  std::map<std::string, uint32_t> offsets;
  const auto types = oboro::testing::make_fake_btf(offsets);
  write(root / "fuzz_btf/schema", types.data(), types.size());
  int number = 0;
  for (auto layout : {KallsymsLayout::before_6_5, KallsymsLayout::before_6_15, KallsymsLayout::before_7_0,
                      KallsymsLayout::since_7_0}) {
    const auto kernel = oboro::testing::make_fake_kernel(layout);
    const std::string name = std::to_string(number++);
    write(root / "fuzz_kallsyms" / name, kernel.image.data(), kernel.image.size());
    const auto profile = oboro::guest::build_profile(kernel.image, oboro::Gva(kernel.base));
    if (!profile) return 1;
    const std::string text = profile->format();
    write(root / "fuzz_profile" / name, text.data(), text.size());
  }
  return 0;
}
