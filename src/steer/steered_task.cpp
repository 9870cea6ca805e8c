#include "steer/steered_task.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <utility>

namespace oboro::steer {

using guest::Field;
using guest::Symbol;

namespace {

constexpr uint64_t kGfpKernel = 0xcc0;  // GFP_KERNEL (include/linux/gfp_types.h), the same since 4.20

}  // namespace

std::string_view SteeredTask::missing(const guest::Profile& profile) {
  for (const Symbol symbol :
       {Symbol::call_yield, Symbol::call_schedule_hrtimeout, Symbol::call_get_free_pages, Symbol::call_free_pages,
        Symbol::call_copy_from_user, Symbol::call_copy_to_user, Symbol::call_strncpy_from_user})
    if (!profile.has(symbol)) return guest::name(symbol);
  if (!profile.has(Field::task_state)) return guest::name(Field::task_state);
  if (!arch::UserRegisters::is_layout(profile[Field::user_registers_number], profile[Field::user_registers_argument]))
    return "user registers as they lie elsewhere";
  return {};
}

bool SteeredTask::comes_back(engine::Vcpu& vcpu, Symbol function) const {
  return at_function(function) && arch::has_returned(vcpu, called_frame_);
}

void SteeredTask::begin(engine::Vcpu& vcpu, Symbol function) {
  routine_ = {};
  busy_ = false;
  entry_frame_ = arch::call_frame(vcpu);
  entry_function_ = kernel_.symbol(function).value;
  for (size_t i = 0; i < entry_arguments_.size(); ++i) entry_arguments_[i] = arch::argument(vcpu, i);
}

std::optional<Outcome> SteeredTask::start(engine::Vcpu& vcpu, Routine<Outcome> routine, engine::Response& response) {
  vcpu_ = &vcpu;
  pending_ = nullptr;
  busy_ = true;
  routine_ = std::move(routine);
  routine_.start();
  return suspended_or_done(response);
}

std::optional<Outcome> SteeredTask::go_on(engine::Vcpu& vcpu, engine::Response& response) {
  vcpu_ = &vcpu;
  pending_ = nullptr;
  returned_ = arch::result(vcpu);
  std::exchange(resume_, {}).resume();
  return suspended_or_done(response);
}

std::optional<Outcome> SteeredTask::suspended_or_done(engine::Response& response) {
  if (routine_.done()) {
    const Outcome outcome = routine_.take();
    routine_ = {};
    busy_ = false;
    vcpu_ = nullptr;
    return outcome;
  }
  called_frame_ = arch::make_frame(entry_frame_.stack - kFrame, Gva(entry_function_),
                                   [this](Gva at, uint64_t word) { writer_.put(at, word); });
  response = engine::Call{pending_->function, called_frame_, pending_->arguments, pending_->argument_count};
  vcpu_ = nullptr;
  return std::nullopt;
}

Routine<bool> SteeredTask::need_buffer() {
  if (!buffer_) {
    const Gva got(co_await call(Symbol::call_get_free_pages, kGfpKernel, kBufferOrder));
    if (got && kernel_.is_direct_map(got)) buffer_ = got;
  }
  co_return static_cast<bool>(buffer_);
}

Routine<Outcome> SteeredTask::free_buffer() {
  if (buffer_) co_await call(Symbol::call_free_pages, std::exchange(buffer_, Gva()).value, kBufferOrder);
  co_return Outcome{};
}

Routine<int64_t> SteeredTask::copy_some_in(uint64_t user, std::span<std::byte> out) {
  // Nearly always possible: the program has just written these bytes. Each call into the guest's kernel costs one more
  // hook.
  if (user_memory().read(user, out)) co_return static_cast<int64_t>(out.size());
  if (!co_await need_buffer()) co_return -ENOMEM;
  size_t done = 0;
  while (done < out.size()) {
    const size_t part = std::min(out.size() - done, kBufferSize);
    const uint64_t left = co_await call(Symbol::call_copy_from_user, buffer_.value, user + done, part);
    const size_t copied = left <= part ? part - left : 0;
    if (!read_buffer(0, out.subspan(done, copied))) break;
    done += copied;
    if (left != 0) break;
  }
  co_return done || out.empty() ? static_cast<int64_t>(done) : -EFAULT;
}

Routine<int64_t> SteeredTask::copy_some_out(uint64_t user, std::span<const std::byte> bytes) {
  if (!co_await need_buffer()) co_return -ENOMEM;
  size_t done = 0;
  while (done < bytes.size()) {
    const size_t part = std::min(bytes.size() - done, kBufferSize);
    if (!writer_.write(buffer_, bytes.subspan(done, part))) break;
    const uint64_t left = co_await call(Symbol::call_copy_to_user, user + done, buffer_.value, part);
    done += left <= part ? part - left : 0;
    if (left != 0) break;
  }
  co_return done || bytes.empty() ? static_cast<int64_t>(done) : -EFAULT;
}

Routine<int64_t> SteeredTask::copy_in(uint64_t user, std::span<std::byte> out) {
  const int64_t done = co_await copy_some_in(user, out);
  co_return done < 0 ? done : static_cast<size_t>(done) == out.size() ? 0 : -EFAULT;
}

Routine<int64_t> SteeredTask::copy_out(uint64_t user, std::span<const std::byte> bytes) {
  const int64_t done = co_await copy_some_out(user, bytes);
  co_return done < 0 ? done : static_cast<size_t>(done) == bytes.size() ? 0 : -EFAULT;
}

Routine<int64_t> SteeredTask::copy_string(uint64_t user, std::string& out) {
  if (user_memory().read_string(user, PATH_MAX, out)) co_return 0;
  if (!co_await need_buffer()) co_return -ENOMEM;
  const auto size = static_cast<int64_t>(co_await call(Symbol::call_strncpy_from_user, buffer_.value, user, PATH_MAX));
  if (size < 0) co_return -EFAULT;
  if (size >= PATH_MAX) co_return -ENAMETOOLONG;
  out.resize(static_cast<size_t>(size));
  if (!read_buffer(0, std::as_writable_bytes(std::span(out)))) co_return -EFAULT;
  out.resize(strnlen(out.data(), out.size()));
  co_return 0;
}

Routine<int64_t> SteeredTask::kernel_own(Symbol function, std::array<uint64_t, 6> a) {
  if (!co_await need_buffer()) co_return -ENOMEM;
  arch::UserRegisters registers{};
  registers.set_arguments(a);
  writer_.put(buffer_, registers);
  co_return static_cast<int64_t>(co_await call(function, buffer_.value));
}

}  // namespace oboro::steer
