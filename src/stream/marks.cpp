#include "stream/marks.h"

#include <sys/stat.h>

#include "base/io_error.h"
#include "store/journal.h"

namespace oboro::stream {

Result<std::multiset<Mark>> last_marks(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return io_error(path);
  const auto size = static_cast<uint64_t>(status.st_size);
  // It may begin in the middle of a line, which is no event then.
  auto reader = store::JournalReader::open(path, size > kMarkedBytes ? size - kMarkedBytes : 0);
  if (!reader) return reader.error();
  std::multiset<Mark> marks;
  store::LabelNames scratch;
  event::Event event;
  for (;;) {
    const auto more = reader->next(event, scratch);
    if (!more) return more.error();
    if (!*more) return marks;
    marks.insert(mark_of(event));
  }
}

}  // namespace oboro::stream
