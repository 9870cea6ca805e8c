// Linked to the programs that run a test a second time, with guests whose RAM is reached through the engine alone.
#include "tests/support/engine/fake_memory.h"

namespace {

[[maybe_unused]] const bool is_set = oboro::fake::all_ram_is_remote = true;

}  // namespace
