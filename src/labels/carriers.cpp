#include "labels/carriers.h"

namespace oboro::labels {

void Carriers::count_up(Carrier c, int64_t by) {
  counts_[static_cast<size_t>(c.kind()) & 15].fetch_add(static_cast<uint64_t>(by), std::memory_order_relaxed);
  if (c.kind() == CarrierKind::file) files_.fetch_add(static_cast<uint64_t>(by), std::memory_order_relaxed);
}

void Carriers::recount() {
  for (auto& count : counts_) count.store(0, std::memory_order_relaxed);
  files_.store(0, std::memory_order_relaxed);
  table_.for_each([this](Carrier c, Entry) { count_up(c, 1); });
}

uint64_t Carriers::missing(Carrier from, Carrier to, Carrier alias) const {
  uint64_t there = table_.labels(to);
  if (!there && alias) there = table_.labels(alias);
  return table_.labels(from) & ~there;
}

Spread Carriers::spread(Carrier from, Carrier to, Carrier alias) {
  const Entry source = table_.find(from);
  Spread result = add(source.labels, to, alias);
  result.from_id = source.id;
  return result;
}

Spread Carriers::add(uint64_t labels, Carrier to, Carrier alias, uint64_t id) {
  Entry target = table_.find(to);
  const bool known = target.labels != 0;
  if (!known && alias) target = table_.find(alias);
  Spread result;
  result.added = labels & ~target.labels;
  if (!target.id) target.id = id ? id : next_id_++;
  if (target.id >= next_id_) next_id_ = target.id + 1;
  result.to_id = target.id;
  if (!result.added && known) return result;
  target.labels |= labels;
  if (!target.labels) return result;
  for (const Carrier c : {to, alias}) {
    if (!c) continue;
    if (!set(c, target)) result.full = true;
  }
  return result;
}

bool Carriers::adopt(Carrier known, Carrier to) {
  const Entry entry = table_.find(known);
  if (!entry.labels || table_.labels(to) == entry.labels) return true;
  return set(to, entry);
}

// False: there is no room.
bool Carriers::set(Carrier c, Entry entry) {
  const bool is_new = table_.labels(c) == 0;
  if (is_new && marks_) marks_->add(c);
  const bool done = table_.set(c, entry);
  if (is_new && marks_ && !done) marks_->remove(c);
  if (is_new && done) count_up(c, 1);
  return done;
}

void Carriers::set_marks(Marks* marks) {
  marks_ = marks;
  if (!marks) return;
  marks->clear();
  table_.for_each([marks](Carrier c, Entry) { marks->add(c); });
  if (sends_refused()) marks->add_senders();
}

void Carriers::refuse_sends(const char* why) {
  const auto guard = lock();
  const char* before = sends_refused_.exchange(why);
  if (!marks_ || !before == !why) return;
  why ? marks_->add_senders() : marks_->remove_senders();
}

bool Carriers::erase(Carrier c) {
  receivers_.forget(c);
  if (!table_.erase(c)) return false;
  count_up(c, -1);
  if (marks_) marks_->remove(c);
  return true;
}

}  // namespace oboro::labels
