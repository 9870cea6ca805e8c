#include "stream/marks.h"

#include "store/journal/reader.h"

namespace oboro::stream {

Result<std::multiset<Mark>> last_marks(const std::string& state_directory) {
  auto journal = store::JournalBytes::open(state_directory);
  if (!journal) return journal.error();
  const auto end = journal->end();
  if (!end) return end.error();
  // It may begin in the middle of a line, which is no event then.
  const uint64_t from = *end > journal->begin() + kMarkedBytes ? *end - kMarkedBytes : 0;
  auto reader = store::JournalReader::open(state_directory, from);
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
