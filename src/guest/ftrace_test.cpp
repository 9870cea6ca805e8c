#include "guest/ftrace.h"

#include <gtest/gtest.h>

#include "tests/support/guest/fake_guest.h"

namespace oboro::guest {
namespace {

class Ftrace : public testing::Test {
 protected:
  // A group of records, in front of the earlier groups.
  Gva group(const std::vector<uint64_t>& addresses) {
    const Gva page = guest.allocate(), records = guest.allocate();
    for (size_t i = 0; i < addresses.size(); ++i) guest.set(records + i * size(), Field::dyn_ftrace_ip, addresses[i]);
    guest.set(page, Field::ftrace_page_records, records);
    guest.set(page, Field::ftrace_page_index, static_cast<uint32_t>(addresses.size()));
    guest.set(page, Field::ftrace_page_next, first);
    guest.write(guest.symbol(Symbol::ftrace_pages_start), first = page);
    return records;
  }
  uint64_t size() { return guest.profile[Field::dyn_ftrace_size]; }
  std::vector<Gva> find(std::vector<Gva> addresses) {
    Reader r(guest.kernel());
    return ftrace_flags(r, addresses);
  }
  fake::FakeGuest guest;
  Gva first;
};

TEST_F(Ftrace, FindsRecordsInAllGroups) {
  const Gva one = group({0x1000, 0x1010, 0x1020, 0x1500, 0x1ff0}), two = group({0x8000, 0x8008});
  group({});
  const auto flags = [&](Gva records, uint64_t index) {
    return records + index * size() + guest.profile[Field::dyn_ftrace_flags];
  };
  EXPECT_EQ(find({Gva(0x1000), Gva(0x1ff0), Gva(0x1020), Gva(0x8008), Gva(0x1011), Gva(0x9000)}),
            (std::vector<Gva>{flags(one, 0), flags(one, 4), flags(one, 2), flags(two, 1), Gva(), Gva()}));
}

TEST_F(Ftrace, AListWithoutEndEnds) {
  group({0x1000});
  guest.set(first, Field::ftrace_page_next, first);
  EXPECT_EQ(find({Gva(0x5000)}), std::vector<Gva>{Gva()});
}

TEST_F(Ftrace, WhatCannotBeReadIsNone) {
  group({0x1000});
  guest.set(first, Field::ftrace_page_index, UINT32_MAX);
  guest.set(first, Field::ftrace_page_records, Gva(0xffff800000000000));
  EXPECT_EQ(find({Gva(0x1000)}), std::vector<Gva>{});
  fake::FakeGuest other;
  fake::set_missing(other.profile, Symbol::ftrace_pages_start);
  Reader r(other.kernel());
  EXPECT_TRUE(ftrace_flags(r, std::vector<Gva>{Gva(0x1000)}).empty());
}

}  // namespace
}  // namespace oboro::guest
