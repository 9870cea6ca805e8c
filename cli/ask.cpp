#include "cli/load.h"
#include "cli/verbs.h"
#include "supervisor/run_socket.h"

namespace oboro::cli {

int ask_run(const std::string& given, std::string_view request) {
  const Result<std::string> directory = state_directory(given);
  if (!directory) return fail(directory.error(), kExitUsage);
  const Result<std::string> answer = supervisor::ask_run(*directory, request);
  if (!answer) return fail(answer.error(), answer.error().code == Errc::not_found ? kExitNotFound : kExitFailed);
  return *answer == "ok" ? kExitOk : fail(Error{Errc::unsupported, *answer}, kExitFailed);
}

}  // namespace oboro::cli
