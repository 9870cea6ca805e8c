#include "guest/ftrace.h"

#include <algorithm>

namespace oboro::guest {
namespace {

constexpr size_t kMaxGroups = 65536;
constexpr uint64_t kMaxRecords = 1 << 20;  // of a group

}  // namespace

std::vector<Gva> ftrace_flags(Reader& r, std::span<const Gva> instructions) {
  const Profile& p = r.profile();
  for (const Field field : {Field::ftrace_page_next, Field::ftrace_page_records, Field::ftrace_page_index,
                            Field::dyn_ftrace_ip, Field::dyn_ftrace_flags, Field::dyn_ftrace_size})
    if (!p.has(field)) return {};
  if (!p.has(Symbol::ftrace_pages_start)) return {};
  const uint64_t size = p[Field::dyn_ftrace_size];
  std::vector<Gva> found(instructions.size());
  Gva group(r.at<uint64_t>(r.kernel().symbol(Symbol::ftrace_pages_start)));
  for (size_t i = 0; group && i < kMaxGroups; ++i, group = r.pointer(group, Field::ftrace_page_next)) {
    const Gva records = r.pointer(group, Field::ftrace_page_records);
    const uint64_t count = std::min<uint64_t>(r.get<uint32_t>(group, Field::ftrace_page_index), kMaxRecords);
    const auto ip = [&](uint64_t index) { return r.get<uint64_t>(records + index * size, Field::dyn_ftrace_ip); };
    if (count == 0) continue;
    const uint64_t first = ip(0), last = ip(count - 1);
    for (size_t wanted = 0; wanted < instructions.size(); ++wanted) {
      const uint64_t address = instructions[wanted].value;
      if (found[wanted] || address < first || address > last) continue;
      uint64_t low = 0, high = count;  // sorted within a group
      while (low < high) {
        const uint64_t middle = (low + high) / 2;
        if (ip(middle) < address)
          low = middle + 1;
        else
          high = middle;
      }
      if (low < count && ip(low) == address) found[wanted] = records + low * size + p[Field::dyn_ftrace_flags];
    }
    if (r.failed()) return {};
  }
  return found;
}

}  // namespace oboro::guest
