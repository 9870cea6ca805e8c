// A filter for tests: exact sets, and programs interpreted over a fake guest's memory.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <set>

#include "base/address.h"
#include "engine/filter.h"

namespace oboro::fake {

class FakeFilter final : public engine::Filter {
 public:
  struct Guest {
    std::function<uint64_t(Gva)> word;            // the 8 bytes there
    std::function<void(Gva, uint64_t)> set_word;  // for notes
    uint64_t per_cpu = 0;
    std::array<uint64_t, 6> arguments{};
  };
  // True: the vCPU is to stop.
  bool run(const engine::FilterProgram& program, const engine::FilterLayout& layout, const Guest& guest) const;

  void add_process(uint32_t tgid) override { processes_.insert(tgid); }
  void remove_process(uint32_t tgid) override { processes_.erase(tgid); }
  void add_object(uint64_t key) override { objects_.insert(key); }
  void remove_object(uint64_t key) override {
    if (const auto found = objects_.find(key); found != objects_.end()) objects_.erase(found);
  }
  void add_name(const engine::KnownName& name) override { names_[name.dentry] = name; }
  void remove_name(uint64_t dentry) override { names_.erase(dentry); }
  void add_senders() override { senders_ = true; }
  void remove_senders() override { senders_ = false; }
  void clear() override {
    senders_ = false;
    processes_.clear();
    objects_.clear();
    names_.clear();
  }
  bool empty() const { return processes_.empty() && objects_.empty(); }

 private:
  bool senders_ = false;
  std::set<uint32_t> processes_;
  std::multiset<uint64_t> objects_;
  std::map<uint64_t, engine::KnownName> names_;
};

}  // namespace oboro::fake
