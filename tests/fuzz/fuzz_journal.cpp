// A damaged or hostile journal, through everything that is made of it: events, state, explanations, JSON again.
#include <cstdlib>
#include <string>
#include <sys/mman.h>
#include <unistd.h>

#include "history/history.h"
#include "store/journal.h"
#include "store/json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace oboro;
  static const int file = ::memfd_create("journal", MFD_CLOEXEC);
  if (::ftruncate(file, 0) != 0 || ::pwrite(file, data, size, 0) != static_cast<ssize_t>(size)) std::abort();
  auto reader = store::JournalReader::open("/proc/self/fd/" + std::to_string(file));
  if (!reader) std::abort();
  store::LabelNames labels;
  history::History state;
  event::Event event;
  std::string vm;
  std::string line;
  while (*reader->next(event, labels, &vm)) {
    state.apply(event);
    // What was read is written and read again without a change.
    line.clear();
    write_event(event, labels, vm, line);
    auto again = store::read_event(line, labels);
    if (!again) std::abort();
    std::string twice;
    write_event(*again, labels, vm, twice);
    if (twice != line) std::abort();
  }
  for (size_t type = 1; type < static_cast<size_t>(event::ObjectType::count); ++type)
    for (const auto* object : state.objects(static_cast<event::ObjectType>(type))) {
      (void)state.paths(*object);
      (void)state.describe(*object);
      for (const auto& chain : state.explain(*object))
        for (size_t i = 1; i < chain.orders.size(); ++i)
          if (chain.orders[i - 1] >= chain.orders[i]) std::abort();
    }
  (void)state.persistent_files();
  (void)state.find_file("/a");
  return 0;
}
