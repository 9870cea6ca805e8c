// Events by chance, about few objects under few names, so that all that can happen to them does: boots, exchanges,
// directories with another name, what has ended and is named again, numbers that are missing or come late.
#pragma once

#include <random>
#include <string>
#include <utility>

#include "tests/support/store/testing.h"

namespace oboro::index::testing {

class Chance {
 public:
  explicit Chance(uint32_t seed) : random_(seed) {}

  event::Event event() {
    event::Event made = next();
    made.boot = boot_;
    if (below(30) == 0) made.seq += below(3);
    if (below(40) == 0) made.seq = below(5);
    return made;
  }

 private:
  using Kind = event::Kind;
  using Object = event::Object;

  uint32_t below(uint32_t bound) { return static_cast<uint32_t>(random_() % bound); }
  std::string directory() { return "/d" + std::to_string(below(3)); }
  std::string path() {
    std::string out = directory();
    if (below(3) == 0) out += "/e";
    return out + "/" + std::to_string(below(4));
  }
  // Mostly of the last ones that came: the numbers go up, as the tracer's do.
  uint64_t id(uint32_t kind) {
    if (below(4) == 0) last_ += 8;
    const uint64_t back = 8 * below(6);
    return (last_ > back ? last_ - back : 8) + kind;
  }
  Object file() {
    const uint64_t number = id(0);
    constexpr const char* kFileSystems[] = {"fs-1", "fs-2", "dev 0:23"};
    return store::testing::file(number, below(8) == 0 ? "" : path(), kFileSystems[number / 8 % 3]);
  }
  Object process() {
    const uint64_t number = id(1);
    Object out = store::testing::process(number, static_cast<uint32_t>(500 + number / 8 % 5),
                                         "program" + std::to_string(below(3)));
    out.process.argv = {"program", std::string(below(3), 'a'), ""};
    out.process.uid = below(3);
    return out;
  }
  Object other() {
    Object out = store::testing::socket(id(2), "10.0.2." + std::to_string(below(3)));
    if (below(2) == 0) {
      out.type = event::ObjectType::pipe;
      out.id += 1;
      out.local = out.remote = {};
      out.protocol.clear();
      out.path = below(2) == 0 ? "/run/pipe" : "";
    }
    return out;
  }
  Object some() {
    const uint32_t which = below(3);
    return which == 0 ? file() : which == 1 ? process() : other();
  }
  uint64_t labels() { return 1 + below(7); }

  event::Event renamed(Object object, std::string from) {
    event::Event made = events_.make(Kind::renamed, std::move(object));
    made.set(event::Renamed{std::move(from)});
    return made;
  }
  // A directory; the next one may be the other half of an exchange.
  event::Event directory_renamed() {
    Object moved = store::testing::file(900 + below(2), directory(), below(2) == 0 ? "fs-1" : "dev 0:23");
    moved.id = 0;
    std::string from = directory();
    if (below(2) == 0) from += "/e";
    if (below(2) == 0) std::swap(from, moved.path);
    if (below(2) == 0) {
      other_half_ = moved;
      other_half_.inode += 1;
      other_half_from_ = std::exchange(other_half_.path, from);
      has_other_half_ = true;
    }
    return renamed(std::move(moved), std::move(from));
  }

  event::Event next() {
    if (std::exchange(has_other_half_, false) && below(4) != 0) return renamed(other_half_, other_half_from_);
    switch (below(25)) {
      case 0:
      case 1:
      case 2:
        return events_.make(Kind::classified, file(), {}, labels());
      case 3:
      case 4:
      case 5:
      case 6:
      case 7: {
        event::Event made = events_.make(Kind::diffusion, some(), some(), labels());
        if (below(10) == 0) made.verdict = event::Verdict::deny;
        return made;
      }
      case 8:
        return events_.make(Kind::leak, below(2) == 0 ? other() : Object{}, process(), labels());
      case 9:
        return events_.make(Kind::exec, process());
      case 10:
      case 11:
        return events_.make(Kind::exited, process());
      case 12:
        return events_.make(Kind::closed, other());
      case 13:
      case 14:
        return renamed(file(), path());
      case 15:
      case 16:
        return directory_renamed();
      case 17:
        return events_.make(Kind::linked, file());
      case 18:
        return events_.make(Kind::unlinked, file());
      case 19:
        return events_.make(Kind::removed, file());
      case 20: {
        event::Event made = events_.make(Kind::warning);
        made.seq = 0;
        made.set(event::Warning{"warning " + std::to_string(below(5))});
        return made;
      }
      case 21: {
        event::Event made = events_.make(Kind::incomplete);
        made.set(event::Incomplete{"reason " + std::to_string(below(5))});
        if (below(2) == 0) made.verdict = event::Verdict::deny;
        return made;
      }
      case 22: {
        event::Event made = events_.make(Kind::lost);
        made.set(event::Lost{below(3), false, ""});
        return made;
      }
      case 23: {
        event::Event made = events_.make(Kind::flood);
        made.seq = 0;
        const uint32_t first = 1 + below(90);
        made.set(event::Flood{"rate", below(3), below(900), "renamed 1", first, first + below(9), below(1000)});
        return made;
      }
      default:
        if (below(4) != 0) return events_.make(Kind::unlinked, file());
        boot_ += below(2);
        return events_.make(below(2) == 0 ? Kind::started : below(2) == 0 ? Kind::reset : Kind::armed);
    }
  }

  std::mt19937 random_;
  store::testing::Events events_;
  uint32_t boot_ = 1;
  uint64_t last_ = 8;
  Object other_half_;
  std::string other_half_from_;
  bool has_other_half_ = false;
};

}  // namespace oboro::index::testing
