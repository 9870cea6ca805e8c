// Where labels went from an object.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "history/history.h"
#include "tests/support/store/testing.h"

namespace oboro::history {
namespace {

using event::Event;
using event::Kind;
using event::ObjectType;
using store::testing::Events;
using store::testing::file;
using store::testing::process;
using store::testing::socket;

// to@order of each, with its depth before it.
std::vector<std::string> reached(const History& state, ObjectKey from, size_t most = 100) {
  std::vector<std::string> out;
  for (const Reached& one : state.reach(*state.find(from), most))
    out.push_back(fmt::format("{} {}@{} {:x}", one.depth, one.to & kIdMask, one.step.order, one.labels));
  return out;
}

TEST(History, TellsWhereItWent) {
  History state;
  Events events;
  const auto plan = file(1, "/srv/secret/plan.txt"), hr = file(3, "/srv/hr/x");
  state.apply(events.make(Kind::classified, plan, {}, 1));                           // 1
  state.apply(events.make(Kind::diffusion, process(2, 812), plan, 1));               // 2
  state.apply(events.make(Kind::classified, hr, {}, 2));                             // 3
  state.apply(events.make(Kind::diffusion, file(4, "/tmp/a"), process(2, 812), 1));  // 4
  state.apply(events.make(Kind::diffusion, process(2, 812), hr, 2));                 // 5
  state.apply(events.make(Kind::diffusion, file(6, "/tmp/b"), process(2, 812), 3));  // 6
  state.apply(events.make(Kind::diffusion, process(7, 813), file(4, "/tmp/a"), 1));  // 7
  state.apply(events.make(Kind::leak, socket(8), process(7, 813), 1));               // 8: to an object
  state.apply(events.make(Kind::leak, {}, process(7, 813), 1));                      // 9
  Event denied = events.make(Kind::leak, {}, process(7, 813), 1);                    // 10
  denied.verdict = event::Verdict::deny;
  state.apply(denied);
  using Lines = std::vector<std::string>;
  EXPECT_EQ(reached(state, object_key(ObjectType::file, 1)),
            (Lines{"1 2@2 1", "2 4@4 1", "3 7@7 1", "4 8@8 1", "4 0@9 1", "2 6@6 1"}));
  EXPECT_EQ(reached(state, object_key(ObjectType::file, 3)), (Lines{"1 2@5 2", "2 6@6 2"}))
      << "not what the process wrote before";
  EXPECT_EQ(reached(state, object_key(ObjectType::file, 1), 3), (Lines{"1 2@2 1", "2 4@4 1", "3 7@7 1"}));
  EXPECT_EQ(reached(state, object_key(ObjectType::file, 6)), Lines{});
  // And on the way to one of them.
  const auto* from = state.find(object_key(ObjectType::process, 2));
  const auto chains = state.explain_from(*from, *state.find(object_key(ObjectType::process, 7)));
  ASSERT_EQ(chains.size(), 1u);
  ASSERT_EQ(chains[0].steps.size(), 2u);
  EXPECT_EQ(chains[0].steps[0].order, 4u);
  EXPECT_EQ(chains[0].steps[1].order, 7u);
  EXPECT_EQ(chains[0].labels, 1u);
  EXPECT_TRUE(
      state.explain_from(*state.find(object_key(ObjectType::file, 3)), *state.find(object_key(ObjectType::process, 7)))
          .empty());
}

}  // namespace
}  // namespace oboro::history
