// oboro completion: made from the verbs and options as they are declared, so that none is missing.
#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <memory>

#include "cli/output.h"
#include "cli/verbs.h"

namespace oboro::cli {
namespace {

constexpr char kCompletionFooter[] = R"(To use it:
  bash   oboro completion bash > ~/.local/share/bash-completion/completions/oboro
  zsh    oboro completion zsh > ~/.zfunc/_oboro     (with ~/.zfunc in $fpath)
  fish   oboro completion fish > ~/.config/fish/completions/oboro.fish

Exit status: 0 written; 2 usage.)";

struct Word {
  std::string text;
  std::string description;
};

struct Verb {
  std::string name;
  std::string description;
  std::vector<Word> options;         // "--state", "-f"
  std::vector<std::string> choices;  // of its argument
};

// "TEXT:{a,b}" -> a, b
std::vector<std::string> choices_of(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const size_t open = type.find('{');
  if (open == std::string::npos || type.back() != '}') return {};
  return CLI::detail::split(type.substr(open + 1, type.size() - open - 2), ',');
}

std::vector<Verb> verbs_of(const CLI::App& app) {
  std::vector<Verb> verbs;
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    Verb verb{sub->get_name(), sub->get_description(), {}, {}};
    for (const CLI::Option* option : sub->get_options()) {
      for (const auto& name : option->get_lnames()) verb.options.push_back({"--" + name, option->get_description()});
      for (const auto& name : option->get_snames()) verb.options.push_back({"-" + name, option->get_description()});
      if (option->get_positional()) verb.choices = choices_of(*option);
    }
    verbs.push_back(std::move(verb));
  }
  return verbs;
}

std::string words(const Verb& verb) {
  std::string out;
  for (const auto& choice : verb.choices) out += choice + " ";
  for (const auto& option : verb.options) out += option.text + " ";
  if (!out.empty()) out.pop_back();
  return out;
}

std::string in_quotes(std::string_view text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? "'\\''" : std::string(1, c);
  return out + "'";
}

std::string bash(const std::vector<Verb>& verbs) {
  std::string names;
  std::string cases;
  for (const auto& verb : verbs) {
    names += verb.name + " ";
    cases += fmt::format("    {}) words={} ;;\n", verb.name, in_quotes(words(verb)));
  }
  return fmt::format(R"(_oboro() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" words
  if [ "$COMP_CWORD" -eq 1 ]; then words={}; else case "${{COMP_WORDS[1]}}" in
{}    *) words= ;;
  esac; fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _oboro oboro
)",
                     in_quotes(names + "--help --version"), cases);
}

std::string zsh(const std::vector<Verb>& verbs) {
  const auto described = [](std::string text, const std::string& description) {
    for (size_t at = 0; (at = text.find(':', at)) != std::string::npos; at += 2) text.insert(at, "\\");
    return in_quotes(text + ":" + description) + " ";
  };
  std::string names;
  std::string cases;
  for (const auto& verb : verbs) {
    names += described(verb.name, verb.description);
    std::string all;
    for (const auto& choice : verb.choices) all += described(choice, "");
    for (const auto& option : verb.options) all += described(option.text, option.description);
    cases += fmt::format("    {}) candidates=({}) ;;\n", verb.name, all);
  }
  return fmt::format(R"(#compdef oboro
_oboro() {{
  local -a candidates
  local verb=${{words[2]}}
  if (( CURRENT == 2 )); then candidates=({}); else case $verb in
{}  esac; fi
  _describe 'oboro' candidates
  (( CURRENT > 2 )) && _files
}}
_oboro "$@"
)",
                     names, cases);
}

std::string fish(const std::vector<Verb>& verbs) {
  std::string out;
  for (const auto& verb : verbs)
    out += fmt::format("complete -c oboro -n __fish_use_subcommand -f -a {} -d {}\n", verb.name,
                       in_quotes(verb.description));
  for (const auto& verb : verbs) {
    const std::string condition = fmt::format("complete -c oboro -n '__fish_seen_subcommand_from {}'", verb.name);
    for (const auto& choice : verb.choices) out += fmt::format("{} -a {}\n", condition, choice);
    for (const auto& option : verb.options)
      out += option.text.starts_with("--")
                 ? fmt::format("{} -l {} -d {}\n", condition, option.text.substr(2), in_quotes(option.description))
                 : fmt::format("{} -s {} -d {}\n", condition, option.text.substr(1), in_quotes(option.description));
  }
  return out;
}

}  // namespace

void add_completion(CLI::App& app, int& exit_code) {
  CLI::App* verb = app.add_subcommand("completion", "Write a completion script for a shell");
  verb->footer(kCompletionFooter);
  auto shell = std::make_shared<std::string>();
  verb->add_option("shell", *shell, "Which shell")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
  verb->callback([shell, &app, &exit_code] {
    const auto verbs = verbs_of(app);
    print(*shell == "bash" ? bash(verbs) : *shell == "zsh" ? zsh(verbs) : fish(verbs));
    exit_code = finish_output() ? kExitOk : kExitFailed;
  });
}

}  // namespace oboro::cli
