// The guest does something at the very moment at which its memory is looked at: a race that always happens.
//
// The page is taken away from this process; whoever touches it first - by reading or writing - faults, and before it
// goes on the page is back and `change` was called, on the same thread. One at a time in a process.
#pragma once

#include <csignal>
#include <cstdlib>
#include <functional>
#include <sys/mman.h>
#include <utility>

#include "tests/support/engine/fake_memory.h"

namespace oboro::fake {

class FirstTouch {
 public:
  FirstTouch(FakeMemory& memory, Gpa page, std::function<void()> change)
      : page_(memory.bytes().data() + page.value / kPageSize * kPageSize), change_(std::move(change)) {
    current = this;
    struct sigaction action {};
    action.sa_sigaction = handle;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigaction(SIGSEGV, &action, &before_);
    mprotect(page_, kPageSize, PROT_NONE);
  }
  ~FirstTouch() {
    mprotect(page_, kPageSize, PROT_READ | PROT_WRITE);
    sigaction(SIGSEGV, &before_, nullptr);
    current = nullptr;
  }
  FirstTouch(const FirstTouch&) = delete;
  FirstTouch& operator=(const FirstTouch&) = delete;
  bool touched() const { return touched_; }

 private:
  static void handle(int, siginfo_t* info, void*) {
    FirstTouch& self = *current;
    const auto* at = static_cast<const std::byte*>(info->si_addr);
    if (self.touched_ || at < self.page_ || at >= self.page_ + kPageSize) std::abort();
    self.touched_ = true;
    mprotect(self.page_, kPageSize, PROT_READ | PROT_WRITE);
    self.change_();
  }

  static inline FirstTouch* current = nullptr;
  std::byte* page_;
  std::function<void()> change_;
  struct sigaction before_ {};
  bool touched_ = false;
};

}  // namespace oboro::fake
