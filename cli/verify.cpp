// oboro verify: whether the journal is what was written.
#include "store/journal/verify.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <memory>
#include <unistd.h>

#include "cli/load.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "store/files.h"
#include "store/json.h"

namespace oboro::cli {
namespace {

constexpr char kVerifyFooter[] =
    R"(Each line of the journal has a hash of itself and of the line before it. This command reads all lines, and names the first one
that was changed, removed or added. Who may write in the state directory could make a new chain: heads that were sent elsewhere in
time show that ([journal] of the configuration, or what this command prints, kept in a safe place).

Examples:
  oboro verify --json >>/mnt/elsewhere/heads
  oboro verify --heads /mnt/elsewhere/heads

Exit status: 0 whole; 1 it is not, or could not be read; 2 usage.)";

constexpr size_t kMaxHeads = 64 << 20;

struct VerifyArguments {
  std::string directory;
  std::vector<std::string> heads;
  bool json = false;
};

void show_progress(uint64_t done, uint64_t all) {
  if (::isatty(STDERR_FILENO) != 0) fmt::print(stderr, "\r{} of {} MiB ", done >> 20, all >> 20);
}

void end_progress() {
  if (::isatty(STDERR_FILENO) != 0) fmt::print(stderr, "\r{:40}\r", "");
}

std::string as_json(const store::Verified& verified) {
  std::string out;
  store::JsonLine json(out);
  json.boolean("whole", !verified.problem);
  json.always("begin", verified.begin);
  json.always("lines", verified.lines);
  json.number("without_hash", verified.without_hash);
  json.always("heads", verified.heads);
  json.number("old_heads", verified.old_heads);
  // The members of a head: this line can be given to --heads later.
  json.always("offset", verified.head.offset);
  json.always("seq", verified.head.seq);
  json.text("hash", verified.head.hash);
  if (verified.problem) {
    json.begin("problem");
    json.number("line", verified.problem->number);
    json.always("offset", verified.problem->offset);
    json.number("seq", verified.problem->seq);
    json.text("what", verified.problem->what);
    json.end();
  }
  json.end();
  return out + '\n';
}

std::string as_text(const store::Verified& verified) {
  std::string out = fmt::format("{} lines are what was written\n", verified.lines - verified.without_hash);
  if (verified.begin > 0) out += fmt::format("they begin at byte {}: what is older was removed\n", verified.begin);
  if (verified.without_hash > 0)
    out += fmt::format("{} lines before them have no hash: an older version wrote them\n", verified.without_hash);
  if (verified.heads + verified.old_heads > 0)
    out += fmt::format("{} heads are of it, {} of what was removed\n", verified.heads, verified.old_heads);
  return out + fmt::format("head {} {}\n", verified.head.seq, verified.head.hash);
}

int execute(const VerifyArguments& arguments) {
  std::vector<store::Head> heads;
  for (const std::string& path : arguments.heads) {
    const auto text = store::read_file(path, kMaxHeads);
    if (!text) return fail(text.error(), kExitUsage);
    auto parsed = store::parse_heads(*text, path);
    if (!parsed) return fail(parsed.error(), kExitUsage);
    heads.insert(heads.end(), parsed->begin(), parsed->end());
  }
  const auto directory = state_directory(arguments.directory);
  if (!directory) return fail(directory.error(), kExitFailed);
  const auto verified = store::verify(*directory, std::move(heads), show_progress);
  end_progress();
  if (!verified && verified.error().code == Errc::not_found)
    return fail(Error{Errc::not_found, *directory + ": no journal there; oboro run makes it"}, kExitFailed);
  if (!verified) return fail(verified.error(), kExitFailed);
  if (arguments.json) print(as_json(*verified));
  if (!arguments.json && !verified->problem) print(as_text(*verified));
  if (const auto& problem = verified->problem) {
    const std::string of = problem->seq != 0 ? fmt::format(" (event {})", problem->seq) : "";
    message(fmt::format("{}: line {}, byte {}{}: {}", *directory, problem->number, problem->offset, of, problem->what));
  }
  return finish_output() && !verified->problem ? kExitOk : kExitFailed;
}

}  // namespace

void add_verify(CLI::App& app, int& exit_code) {
  CLI::App* verb = app.add_subcommand("verify", "Check that the journal is what was written");
  verb->footer(kVerifyFooter);
  auto a = std::make_shared<VerifyArguments>();
  repeatable(verb->add_option("--heads", a->heads, "File with heads that were kept elsewhere; repeatable"))
      ->type_name("FILE");
  verb->add_flag("--json", a->json, "One JSON object (docs/formats.md)");
  add_state_option(*verb, a->directory);
  verb->callback([a, &exit_code] { exit_code = execute(*a); });
}

}  // namespace oboro::cli
