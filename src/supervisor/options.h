// The options of `oboro run` and `oboro-qemu`.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "link/settings.h"
#include "store/journal/keeping.h"
#include "supervisor/launch/machine.h"
#include "supervisor/launch/proxies.h"

namespace oboro::supervisor {

struct Options {
  MachineOptions machine;
  std::string state_dir;
  std::vector<link::ClassifyRule> rules;  // the labels by name
  policy::Policy policy;
  store::Keeping journal;
  uint64_t capacity = link::Settings::kDefaultCapacity;  // managed objects that there is room for
  bool allow_untraced = false;
  bool walls = false;  // QEMU can be, and is, put behind Walls
  Parts parts;
  std::string builder;  // oboro-profile
  ProxyPlace proxy;     // where proxies of hidden services run
  std::vector<link::HiddenService> hidden;
  link::Wait wait = link::Wait::park;  // of hidden services
};

enum class Ending { guest_ended, failed, not_traceable };

}  // namespace oboro::supervisor
