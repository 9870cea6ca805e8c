// A damaged or hostile journal, through everything that is made of it: events, state, explanations, JSON again; and
// read on from a cursor.
#include <cstdlib>
#include <fcntl.h>
#include <string>
#include <unistd.h>
#include <vector>

#include "history/history.h"
#include "store/json.h"
#include "stream/reader.h"

namespace {

// A state directory of this process, with only a journal in it.
struct Directory {
  char path[32] = "/tmp/oboro-fuzz-XXXXXX";
  int journal = -1;
  Directory() {
    if (::mkdtemp(path) == nullptr) std::abort();
    journal = ::open(oboro::store::journal_path(path).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (journal < 0) std::abort();
  }
  ~Directory() {
    ::unlink(oboro::store::journal_path(path).c_str());
    ::rmdir(path);
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace oboro;
  static const Directory directory;
  const int file = directory.journal;
  if (::ftruncate(file, 0) != 0 || ::pwrite(file, data, size, 0) != static_cast<ssize_t>(size)) std::abort();
  auto reader = stream::Reader::open(directory.path);
  if (!reader) std::abort();
  store::LabelNames labels;
  history::History state;
  event::Event event;
  std::string line;
  std::vector<stream::Cursor> cursors{reader->cursor()};
  while (*reader->next(event)) {
    state.apply(event);
    cursors.push_back(reader->cursor());
    labels = reader->labels();
    const std::string& vm = reader->vm();
    // What was read is written and read again without a change.
    line.clear();
    write_event(event, labels, vm, line);
    auto again = store::read_event(line, labels);
    if (!again) std::abort();
    std::string twice;
    write_event(*again, labels, vm, twice);
    if (twice != line) std::abort();
  }
  // From any cursor the rest is the rest (with all labels in use, which lines are too many depends on where one began).
  const size_t at = size % cursors.size();
  auto resumed = stream::Reader::open(directory.path, cursors[at]);
  if (!resumed) std::abort();
  const bool full = reader->labels().size() == store::LabelNames::kMaxLabels;
  for (size_t i = at + 1; i < cursors.size() && !full; ++i)
    if (!*resumed->next(event) || resumed->cursor() != cursors[i]) std::abort();
  if (!full && *resumed->next(event)) std::abort();
  for (size_t type = 1; type < static_cast<size_t>(event::ObjectType::count); ++type)
    for (const auto* object : state.objects(static_cast<event::ObjectType>(type))) {
      (void)state.paths(*object);
      (void)state.describe(*object);
      for (const auto& chain : state.explain(*object))
        for (size_t i = 1; i < chain.steps.size(); ++i)
          if (chain.steps[i - 1].order >= chain.steps[i].order) std::abort();
    }
  (void)state.persistent_files();
  (void)state.find_file("/a");
  return 0;
}
