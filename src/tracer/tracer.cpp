#include "tracer/tracer.h"

#include <algorithm>
#include <array>
#include <errno.h>
#include <fmt/format.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <utility>

#include "event/codec.h"
#include "guest/profile/build.h"
#include "link/control.h"

namespace oboro::tracer {
namespace {

constexpr uint64_t kMaxImage = uint64_t{256} << 20;
constexpr int kProfileTimeoutMs = 75000;  // longer than the supervisor's own (supervisor/kernel_desk.cpp)
constexpr int kGoOnTimeoutMs = 60000;
constexpr int kRingWaitMs = 2000;
constexpr size_t kBannerSize = 128;
constexpr size_t kMaxProcessesAtBoot = 65536;

uint64_t now_ns(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1000000000 + static_cast<uint64_t>(t.tv_nsec);
}

}  // namespace

Result<std::unique_ptr<Tracer>> Tracer::create(const engine::PhysicalMemory& memory, link::Settings settings,
                                               stream::RingWriter ring, UniqueFd control,
                                               std::vector<std::unique_ptr<hiding::Service>> services) {
  labels::PatternSet patterns;
  for (const link::ClassifyRule& rule : settings.rules) {
    Result<labels::Pattern> pattern = labels::Pattern::parse(rule.pattern);
    if (!pattern) return pattern.error();
    if (!patterns.add(std::move(*pattern), rule.labels)) return Error{Errc::limit, "too many patterns"};
  }
  return std::unique_ptr<Tracer>(new Tracer(memory, std::move(settings), std::move(ring), std::move(control),
                                            std::move(patterns), std::move(services)));
}

Tracer::Tracer(const engine::PhysicalMemory& memory, link::Settings settings, stream::RingWriter ring, UniqueFd control,
               labels::PatternSet patterns, std::vector<std::unique_ptr<hiding::Service>> services)
    : memory_(memory),
      settings_(std::move(settings)),
      ring_(std::move(ring)),
      control_(std::move(control)),
      patterns_(std::move(patterns)),
      state_(settings_.capacity, settings_.first_id, settings_.places),
      trust_(settings_.policy, state_),
      seq_(settings_.first_seq),
      boot_(settings_.boot),
      services_(std::move(services)) {
  learn_files();
}

void Tracer::learn_files() {
  const auto lock = state_.lock();
  for (const link::KnownFile& file : settings_.files)
    if (state_.add(file.labels, {labels::CarrierKind::file, file.identity.hash()}, {}, file.id).full)
      incomplete(labels::kTableFull);
  if (settings_.labels_missing)
    incomplete("labels of an earlier run may be missing: it was ended while events were left out of its journal");
}

Result<guest::Layout> Tracer::find_kernel(engine::Vcpu& vcpu) const {
  guest::Layout layout;
  constexpr uint64_t kAlignment = arch::kImageAlignment;
  const auto read = [this](Gpa at) { return memory_.read_u64(at); };
  for (const arch::PageTables& tables : arch::kernel_tables(vcpu)) {
    layout.tables = tables;
    layout.image_size = 0;
    uint64_t end = 0;
    for (uint64_t va = arch::kImageArea; va < arch::kImageAreaEnd;) {
      const auto found = arch::walk(read, tables, Gva(va));
      if (!found) {
        va += 4096;
        if (!end && va % kAlignment) va = (va + kAlignment - 1) & ~(kAlignment - 1);
        continue;
      }
      if (!end) {
        layout.image_base = Gva(va);
        layout.image_start = found->address;
      } else if (va - end > (uint64_t{32} << 20)) {
        break;  // another thing, far behind the image
      }
      if (found->address.value - layout.image_start.value == va - layout.image_base.value) end = va + found->remaining;
      va += found->remaining;
    }
    if (end > layout.image_base.value + (1 << 20)) {
      layout.image_size = end - layout.image_base.value;
      break;
    }
  }
  if (layout.image_size == 0) return Error{Errc::not_found, "no kernel image is mapped where Linux x86-64 has its own"};
  if (layout.image_size > kMaxImage)
    return Error{Errc::unsupported, fmt::format("the kernel image seems to be {} MiB large", layout.image_size >> 20)};
  return layout;
}

Result<guest::Profile> Tracer::profile_for(const guest::Layout& layout) {
  // A copy: the guest must not change the bytes while the builder reads them, and the builder must see no other memory.
  UniqueFd file(memfd_create("oboro-kernel-image", MFD_CLOEXEC));
  if (!file || ftruncate(file.get(), static_cast<off_t>(layout.image_size)) != 0)
    return Error{Errc::io, fmt::format("cannot make a copy of the kernel image: {}", strerror(errno))};
  void* map = mmap(nullptr, layout.image_size, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (map == MAP_FAILED)
    return Error{Errc::io, fmt::format("cannot map a copy of the kernel image: {}", strerror(errno))};
  const std::span<std::byte> copy(static_cast<std::byte*>(map), layout.image_size);
  const auto read = [this](Gpa at) { return memory_.read_u64(at); };
  for (uint64_t offset = 0; offset < layout.image_size;) {
    const auto found = arch::walk(read, layout.tables, layout.image_base + offset);
    uint64_t part = 4096;
    if (found && found->address.value - layout.image_start.value == offset) {
      const uint64_t most = std::min(found->remaining, layout.image_size - offset);
      if (const size_t got = memory_.read_some(found->address, copy.subspan(offset, most))) part = got;
    }
    offset += part;
  }
  const std::string key = guest::kernel_build_id(copy);
  munmap(map, layout.image_size);

  const std::array image{file.get()};
  if (auto sent = link::send(control_.get(), link::IdentifyKernel{key, layout.image_base.value}, 0, image); !sent)
    return sent.error();
  Result<link::Message> answer = link::receive(control_.get(), kProfileTimeoutMs);
  if (!answer) return answer.error();
  if (const auto* profile = answer->as<link::KernelProfile>()) {
    profile_cached_ = profile->cached;
    return guest::Profile::parse(profile->text);
  }
  const auto* failed = answer->as<link::Failed>();
  return Error{Errc::unsupported, failed ? failed->why : "the supervisor's answer is none to this question"};
}

Result<void> Tracer::identify(engine::Vcpu& vcpu) {
  arm_started_ns_ = now_ns(CLOCK_MONOTONIC);
  Result<guest::Layout> layout = find_kernel(vcpu);
  if (!layout) return layout.error();
  Result<guest::Profile> profile = profile_for(*layout);
  if (!profile) return profile.error();
  std::string text = banner(*layout, *profile);
  identified_ = Identified{*layout, std::move(*profile), std::move(text), now_ns(CLOCK_MONOTONIC) - arm_started_ns_};
  return {};
}

// Finds it by the place of the image alone. Page tables change while a kernel starts.
std::string Tracer::banner(const guest::Layout& layout, const guest::Profile& profile) const {
  const guest::SymbolValue& symbol = profile[guest::Symbol::linux_banner];
  if (symbol.kind != guest::SymbolValue::Kind::relative || symbol.value >= layout.image_size) return {};
  std::string text(kBannerSize, '\0');
  text.resize(memory_.read_some(layout.image_start + symbol.value, std::as_writable_bytes(std::span(text))));
  return text;
}

Tracer::Progress Tracer::progress() const {
  if (!identified_ || banner(identified_->layout, identified_->profile) != identified_->banner) return Progress::gone;
  const guest::SymbolValue& symbol = identified_->profile[guest::Symbol::system_state];
  if (symbol.kind != guest::SymbolValue::Kind::relative) return Progress::booting;
  uint32_t state = 0;
  const bool known = memory_.read(identified_->layout.image_start + symbol.value, &state, sizeof state);
  return known && state != 0 ? Progress::initialised : Progress::booting;
}

bool Tracer::programs_run() const {
  guest::Reader r(*kernel_);
  bool found = false;
  guest::for_each_process(r, kMaxProcessesAtBoot, [&](guest::Task task) {
    found = static_cast<bool>(task.mm(r));
    return !found;
  });
  return found;
}

void Tracer::not_placed(const engine::Hook& hook) {
  --hook_count_;
  const hooks::HookPoint& point = point_of(hook);
  incomplete(point.what.data());
  if (!hider_) return;
  const auto hiding = hider_->hook_points();
  if (&point < hiding.data() || &point >= hiding.data() + hiding.size()) return;
  environment_->watcher = nullptr;  // half a watcher would be worse than none
  hider_->hide_nothing();           // the Hider stays, as do its other hooks
}

Result<std::vector<engine::Hook>> Tracer::arm(engine::Vcpu& vcpu) {
  if (!identified_)
    if (auto done = identify(vcpu); !done) return done.error();
  Identified known = std::move(*identified_);
  identified_.reset();
  arm_started_ns_ = now_ns(CLOCK_MONOTONIC) - known.took_ns;  // the kernel's own start in between does not count
  // The page tables that are in use now: those of an early moment of the boot may be gone.
  const Result<guest::Layout> layout = find_kernel(vcpu);
  if (!layout) return layout.error();
  if (layout->image_base.value != known.layout.image_base.value ||
      layout->image_start.value != known.layout.image_start.value)
    return Error{Errc::unsupported, "the kernel image moved while the kernel started"};
  known.layout.tables = layout->tables;
  hider_.reset();
  kernel_ = std::make_unique<guest::Kernel>(memory_, std::move(known.profile), known.layout);
  environment_ = std::make_unique<hooks::Environment>(*kernel_, state_, patterns_, settings_.policy, *this);
  if (!environment_->tasks.usable()) return Error{Errc::unsupported, "the running task cannot be found in this kernel"};

  std::vector<engine::Hook> armed;
  const auto few = hooks::essential_functions();
  const auto add = [&](const hooks::HookPoint& point, bool may_steer) {
    armed.push_back({kernel_->symbol(point.function).value, &point, may_steer,
                     point.interest == hooks::Interest::known_dentry,
                     std::find(few.begin(), few.end(), point.function) != few.end()});
  };
  for (const hooks::HookPoint& point : hooks::hook_points()) {
    if (kernel_->symbol(point.function))
      add(point, hooks::may_deny(point, settings_.policy));
    else
      incomplete(point.what.data());
  }
  if (!services_.empty()) {
    if (const std::string missing = hiding::Hider::missing(kernel_->profile()); !missing.empty())
      return Error{Errc::unsupported, "services cannot be hidden in this kernel: it lacks " + missing};
    hider_ = std::make_unique<hiding::Hider>(*kernel_, services_, settings_.wait, ring_.counters());
    environment_->watcher = hider_.get();
    for (const hooks::HookPoint& point : hider_->hook_points()) add(point, true);
  }
  hook_count_ =
      static_cast<size_t>(std::count_if(armed.begin(), armed.end(), [](auto& hook) { return !hook.filter_only; }));
  return armed;
}

std::optional<engine::FilterLayout> Tracer::filter_layout() const {
  return hooks::filter_layout(*kernel_, environment_->tasks.current_offset());
}

std::optional<engine::FilterProgram> Tracer::filter_program(const engine::Hook& hook,
                                                            const engine::FilterLayout& layout) const {
  return hooks::filter_program(hooks::interest_of(point_of(hook), settings_.policy), *kernel_, layout,
                               hiding::Hider::executables(services_));
}

void Tracer::filter_with(engine::Filter& filter) {
  marks_ = std::make_unique<hooks::FilterMarks>(filter);
  environment_->filter = &filter;
  environment_->marks = marks_.get();
  const auto lock = state_.lock();
  state_.set_marks(marks_.get());
}

void Tracer::armed() {
  const uint64_t took_us = (now_ns(CLOCK_MONOTONIC) - arm_started_ns_) / 1000;
  const guest::Profile& profile = kernel_->profile();
  event::Event event;
  event.set(
      event::Armed{profile.release, profile.build_id, static_cast<uint32_t>(hook_count_), profile_cached_, took_us});
  ring_.counters().hooks_armed = hook_count_;
  {
    const auto lock = state_.lock();
    report(event);
  }
  (void)link::send(control_.get(),
                   link::Armed{profile.release, profile.build_id, hook_count_, profile_cached_, took_us});
}

bool Tracer::ask_to_go_on(const std::string& why) {
  incomplete("the guest kernel cannot be traced");
  if (!link::send(control_.get(), link::Untraceable{why})) return false;
  const Result<link::Message> answer = link::receive(control_.get(), kGoOnTimeoutMs);
  return answer && answer->as<link::RunUntraced>();
}

engine::Response Tracer::hook(const hooks::HookPoint& point, engine::Vcpu& vcpu) {
  hooks::Operation operation(*environment_, vcpu);
  // Before its first program, the kernel does what its own start needs (it unpacks a file system, say): no hook counts.
  if (!programs_seen_.load(std::memory_order_relaxed)) {
    if (!operation.task().mm(operation.r) && !operation.r.failed()) return {};
    programs_seen_.store(true, std::memory_order_relaxed);
  }
  hooks::dispatch(point, operation);
  return operation.response;
}

void Tracer::boot_ended(std::string_view how) {
  identified_.reset();
  programs_seen_ = false;
  if (environment_) environment_->watcher = nullptr;
  hider_.reset();  // what its services had open ends with it
  const auto lock = state_.lock();
  if (environment_) environment_->filter = nullptr, environment_->marks = nullptr;
  state_.set_marks(nullptr);
  event::Event event;
  event.set(event::Reset{std::string(how)});
  report(event);
  state_.retain([&](labels::Carrier c, labels::Entry) { return c.kind() == labels::CarrierKind::file; });
  incomplete_reasons_.clear();
  ring_.counters().hooks_armed = 0;
  ++boot_;
  update_counters();
  (void)link::send(control_.get(), link::Reset{});
}

std::string Tracer::retire(bool patient) {
  if (!hider_ || !environment_->watcher) return {};
  unseen("hidden services run on without their proxies");  // from here on, whatever becomes of the hooks
  return hider_->retire(patient);
}

void Tracer::not_detached(std::string_view who) {
  unseen("hidden services keep their hooks in place: not let go yet");
  (void)link::send(control_.get(), link::NotDetached{std::string(who)});
}

void Tracer::detached(std::string_view why) {
  incomplete("the guest runs on untraced");
  const auto lock = state_.lock();
  if (environment_) environment_->filter = nullptr, environment_->marks = nullptr;
  state_.set_marks(nullptr);
  ring_.counters().hooks_armed = 0;
  (void)link::send(control_.get(), link::Detached{std::string(why)});
}

void Tracer::update_counters() {
  using labels::CarrierKind;
  stream::RingCounters& counters = ring_.counters();
  counters.managed_files = state_.count(CarrierKind::file);
  counters.managed_processes = state_.count(CarrierKind::process);
  counters.managed_sockets = state_.count(CarrierKind::socket) + state_.count(CarrierKind::flow);
}

// Called with the state's lock held, so that events are in the order of the changes that they report.
void Tracer::report(event::Event& event) {
  stream::RingCounters& counters = ring_.counters();
  const bool kept = event::room_of(event.kind) == event::Room::kept;
  bool& stuck = ring_stuck_[kept];
  if (lost_unreported_ && event.kind != event::Kind::lost && !stuck) {
    event::Event lost;
    const uint64_t count = std::exchange(lost_unreported_, 0);
    lost.set(event::Lost{count, false, {}});
    if (state_.sends_refused()) lost.verdict = event::Verdict::deny;
    report(lost);
    if (ring_stuck_[true]) lost_unreported_ += count;  // that record was lost too: still to be told
  }
  event.seq = seq_++;
  event.time_ns = now_ns(CLOCK_REALTIME);
  event.boot = boot_;
  encoded_.clear();
  event::encode(event, encoded_);
  // A full ring holds the vCPU up once, within bounds. Then records are lost without a wait, until there is room again.
  // What fills the ring does not keep out the kinds that must not be lost: part of the ring is theirs alone.
  const auto part = kept ? stream::RingWriter::Part::all : stream::RingWriter::Part::shared;
  bool pushed = ring_.push(encoded_, part);
  if (!pushed && !stuck) pushed = ring_.wait_for_room(encoded_.size(), kRingWaitMs, part) && ring_.push(encoded_, part);
  stuck = !pushed;
  if (!pushed) {
    ++lost_unreported_;
    counters.lost += 1;
    doubt(policy::Trouble::incomplete, kLostRecords);
  }
  counters.records += 1;
  counters.last_seq = event.seq;
  counters.boot = event.boot;
  update_counters();
}

// A guest that fills our tables must not get a way out because the tracer has lost track of labels.
void Tracer::doubt(policy::Trouble trouble, const char* why) {
  if (trust_.doubt(trouble, why)) (void)link::send(control_.get(), link::Doubt{why});
}

void Tracer::journal_is(bool available) {
  if (available)
    trust_.mended(policy::Trouble::journal);
  else
    (void)trust_.doubt(policy::Trouble::journal, labels::kNoJournal);  // who says so knows what comes of it
}

// Reports what is no change of the state.
template <typename Payload>
void Tracer::tell(Payload payload, event::Verdict verdict) {
  event::Event event;
  event.set(std::move(payload));
  event.verdict = verdict;
  const auto lock = state_.lock();
  report(event);
}

void Tracer::commanded(event::Command command) { tell(std::move(command)); }
void Tracer::warn(std::string text) { tell(event::Warning{std::move(text)}); }

void Tracer::incomplete(const char* what) {
  doubt(what == labels::kTableFull ? policy::Trouble::full_table : policy::Trouble::incomplete, what);
  if (!incomplete_reasons_.add(what).is_new) return;
  ring_.counters().incomplete += 1;
  tell(event::Incomplete{what}, state_.sends_refused() ? event::Verdict::deny : event::Verdict::allow);
}

}  // namespace oboro::tracer
