#include "supervisor/tracer_line.h"

#include <utility>

namespace oboro::supervisor {
namespace {

constexpr std::chrono::milliseconds kPatience{5000};

const Error kGone{Errc::io, "the tracer is gone"};

}  // namespace

Result<void> TracerLine::open() {
  Result<Loop::Watch> watch = loop_.readable(socket_, [this] { hear(); });
  if (!watch) return watch.error();
  watch_ = std::move(*watch);
  return {};
}

void TracerLine::ask(const link::Body& request, Answer answer, std::span<const int> fds) {
  if (!watch_) return answer(kGone);
  if (pending_.size() >= kMostPending) return answer(Error{Errc::limit, "the tracer has too many questions to answer"});
  const uint32_t number = ++last_request_ ? last_request_ : ++last_request_;  // 0 is none
  if (auto sent = link::send(socket_, request, number, fds); !sent) return answer(sent.error());
  Result<Loop::Watch> timer = loop_.after(kPatience, [this, number] {
    end(number, Error{Errc::limit, "the tracer has not answered yet"});
  });
  if (!timer) return answer(timer.error());
  pending_.insert_or_assign(number, Pending{std::move(answer), std::move(*timer)});
}

void TracerLine::hear() {
  Result<link::Message> message = link::receive(socket_, 0);
  if (message) return end(message->request, std::move(message->body));
  if (message.error().code == Errc::io) close();
}

void TracerLine::close() {
  watch_.drop();
  while (!pending_.empty()) end(pending_.begin()->first, kGone);
}

// If nobody waits for an answer, it comes too late, or the tracer has invented it.
void TracerLine::end(uint32_t request, Result<link::Body> result) {
  const auto found = pending_.find(request);
  if (found == pending_.end()) return;
  const Pending pending = std::move(found->second);
  pending_.erase(found);
  pending.answer(std::move(result));
}

}  // namespace oboro::supervisor
