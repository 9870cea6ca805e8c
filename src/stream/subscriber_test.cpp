// A subscriber as an exporter would be one: it needs nothing but stream/reader.h. If a change of the store or the
// supervisor breaks this file, it breaks everybody's exporters.
#include <gtest/gtest.h>
#include <map>
#include <sys/epoll.h>

#include "store/files.h"
#include "stream/reader.h"
#include "tests/support/store/testing.h"

namespace oboro::stream {
namespace {

using event::Event;
using event::Kind;
using store::testing::TempDirectory;

// Counts the leaks of many guests by their destination, in one event loop. `out` is what was exported. It outlives the
// exporter, as a data base would.
class LeakExporter {
 public:
  using Exported = std::map<std::string, int>;
  explicit LeakExporter(Exported& out) : out_(out), loop_(::epoll_create1(EPOLL_CLOEXEC)) {}

  Result<void> add(const std::string& directory) {
    Cursor from;
    if (const auto stored = store::read_file(directory + "/exporter.cursor", 128)) {
      auto parsed = Cursor::parse(*stored);
      if (!parsed) return parsed.error();
      from = *parsed;
    }
    auto reader = Reader::open(directory, from);
    if (!reader) return reader.error();
    auto fd = reader->poll_fd();
    if (!fd) return fd.error();
    epoll_event wanted{.events = EPOLLIN, .data = {.u64 = guests_.size()}};
    if (::epoll_ctl(loop_.get(), EPOLL_CTL_ADD, *fd, &wanted) != 0) return Error{Errc::io, "epoll"};
    guests_.push_back({directory, std::move(*reader)});
    return drain(guests_.back());
  }

  // Returns how many guests had an event.
  int turn(int timeout_ms) {
    epoll_event ready[8];
    const int count = ::epoll_wait(loop_.get(), ready, 8, timeout_ms);
    for (int i = 0; i < count; ++i) EXPECT_TRUE(drain(guests_[ready[i].data.u64]));
    return count;
  }

 private:
  struct Guest {
    std::string directory;
    Reader reader;
  };
  Result<void> drain(Guest& guest) {
    Event event;
    for (;;) {
      auto more = guest.reader.next(event);
      if (!more) return more.error();
      if (!*more) break;
      if (event.kind == Kind::leak) ++out_[guest.reader.vm() + " " + event.object.remote.address];
    }
    return store::write_file_atomically(guest.directory + "/exporter.cursor", guest.reader.cursor().text());
  }

  Exported& out_;
  UniqueFd loop_;
  std::vector<Guest> guests_;
};

class Guest {
 public:
  explicit Guest(std::string vm)
      : vm_(std::move(vm)), appender_(std::move(*store::Appender::open(directory_.path()))) {}
  void leak(const std::string& to) {
    appender_.append(events_.make(Kind::leak, store::testing::socket(9, to), store::testing::process(2, 812), 1), {},
                     vm_);
    ASSERT_TRUE(appender_.flush());
  }
  const std::string& directory() const { return directory_.path(); }

 private:
  TempDirectory directory_;
  std::string vm_;
  store::Appender appender_;
  store::testing::Events events_;
};

TEST(Subscriber, ExportsSeveralGuestsInOneLoopAndGoesOnLater) {
  Guest web("web"), mail("mail");
  LeakExporter::Exported exported;
  web.leak("192.0.2.1");
  {
    LeakExporter exporter(exported);
    ASSERT_TRUE(exporter.add(web.directory()));
    ASSERT_TRUE(exporter.add(mail.directory()));
    EXPECT_EQ(exported, (LeakExporter::Exported{{"web 192.0.2.1", 1}}));
    while (exporter.turn(0) > 0) continue;
    mail.leak("192.0.2.7");
    mail.leak("192.0.2.7");
    EXPECT_EQ(exporter.turn(20'000), 1) << "only that guest's";
    EXPECT_EQ(exported["mail 192.0.2.7"], 2);
    while (exporter.turn(0) > 0) continue;  // its own cursors
    web.leak("192.0.2.1");
    EXPECT_EQ(exporter.turn(20'000), 1);
    EXPECT_EQ(exported["web 192.0.2.1"], 2);
  }
  mail.leak("192.0.2.9");  // while none is there
  LeakExporter exporter(exported);
  ASSERT_TRUE(exporter.add(web.directory()));
  ASSERT_TRUE(exporter.add(mail.directory()));
  EXPECT_EQ(exported, (LeakExporter::Exported{{"web 192.0.2.1", 2}, {"mail 192.0.2.7", 2}, {"mail 192.0.2.9", 1}}));
}

}  // namespace
}  // namespace oboro::stream
