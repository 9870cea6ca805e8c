#include "guest/who.h"

#include <algorithm>

#include "guest/user_memory.h"

namespace oboro::guest {
namespace {

constexpr uint64_t kPieceSize = 4096;  // a page
constexpr size_t kContainerDigits = 64;

// The strings from `at` on, at most `count` of them, up to the first byte that is not in RAM.
std::vector<std::string> strings(Reader& r, Gva mm, uint64_t at, uint64_t size, size_t count) {
  const auto tables = r.kernel().physical(r.pointer(mm, Field::mm_pgd));
  if (!tables || r.failed()) return {};
  const UserMemory memory(r.kernel(), arch::tables_at(*tables, r.kernel().layout().tables));
  std::string bytes;
  for (size = std::min<uint64_t>(size, kMaxArgumentBytes); bytes.size() < size;) {
    char piece[kPieceSize];
    const uint64_t from = at + bytes.size();
    const size_t part = std::min(size - bytes.size(), kPieceSize - from % kPieceSize);
    if (!memory.read(from, std::as_writable_bytes(std::span(piece, part)))) break;
    bytes.append(piece, part);
  }
  std::vector<std::string> out;
  for (std::string_view rest = bytes; !rest.empty() && out.size() < std::min(count, kMaxArguments);) {
    const size_t end = rest.find('\0');
    out.emplace_back(rest.substr(0, end));
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  }
  return out;
}

bool is_hexadecimal(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

// "docker-<ID>.scope" of the systemd drivers, "<ID>" of the others.
std::string_view container_in(std::string_view name) {
  if (name.ends_with(".scope")) name.remove_suffix(6);
  if (name.size() < kContainerDigits) return {};
  const std::string_view id = name.substr(name.size() - kContainerDigits);
  const std::string_view before = name.substr(0, name.size() - kContainerDigits);
  const bool known = before.empty() || before == "docker-" || before == "libpod-" || before == "cri-containerd-" ||
                     before == "crio-" || before == "nerdctl-";
  return known && is_hexadecimal(id) ? id : std::string_view();
}

}  // namespace

std::optional<uint32_t> user(Reader& r, Task of) {
  if (!r.profile().has(Field::task_cred) || !r.profile().has(Field::cred_uid)) return {};
  const Gva cred = r.pointer(of.at, Field::task_cred);
  const auto uid = r.get<uint32_t>(cred, Field::cred_uid);
  return cred && !r.failed() ? std::optional(uid) : std::nullopt;
}

std::optional<uint32_t> login_user(Reader& r, Task of) {
  if (!r.profile().has(Field::task_loginuid)) return {};
  const auto uid = r.get<uint32_t>(of.at, Field::task_loginuid);
  return uid != UINT32_MAX && !r.failed() ? std::optional(uid) : std::nullopt;
}

uint32_t parent(Reader& r, Task of) {
  const Task found{r.pointer(of.leader(r).at, Field::task_real_parent)};
  const uint32_t pid = found.at ? found.tgid(r) : 0;
  return r.failed() ? 0 : pid;
}

std::vector<std::string> arguments(Reader& r, Task running) {
  const Profile& p = r.profile();
  if (!p.has(Field::mm_arg_start) || !p.has(Field::mm_arg_end)) return {};
  const Gva mm = running.mm(r);
  if (!mm) return {};
  const auto start = r.get<uint64_t>(mm, Field::mm_arg_start);
  const auto end = r.get<uint64_t>(mm, Field::mm_arg_end);
  return end > start ? strings(r, mm, start, end - start, kMaxArguments) : std::vector<std::string>();
}

std::vector<std::string> arguments_of_program(Reader& r, Gva linux_binprm) {
  const Profile& p = r.profile();
  if (!p.has(Field::binprm_mm) || !p.has(Field::binprm_p) || !p.has(Field::binprm_argc)) return {};
  const Gva mm = r.pointer(linux_binprm, Field::binprm_mm);
  if (!mm) return {};
  const auto at = r.get<uint64_t>(linux_binprm, Field::binprm_p);  // argv[0]; the others and the environment follow
  return strings(r, mm, at, kMaxArgumentBytes, r.get<uint32_t>(linux_binprm, Field::binprm_argc));
}

Runner runner_of(std::string_view cgroup) {
  Runner out;
  while (!cgroup.empty()) {
    const size_t slash = cgroup.rfind('/');
    const std::string_view name = cgroup.substr(slash == std::string_view::npos ? 0 : slash + 1);
    if (out.container.empty()) out.container = container_in(name);
    if (out.unit.empty() && (name.ends_with(".service") || name.ends_with(".scope"))) out.unit = name;
    cgroup = cgroup.substr(0, slash == std::string_view::npos ? 0 : slash);
  }
  return out;
}

}  // namespace oboro::guest
