#include "config/config.h"

#include <limits>

#include "base/size.h"
#include "diffusion/pattern.h"
#include "store/files.h"
#include "store/labels.h"

// Errors as values, and not one translation unit more than this with the whole parser in it.
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

namespace oboro::config {
namespace {

class Reader {
 public:
  explicit Reader(const std::string& file) : file_(file) {}

  Result<Config> read(const toml::table& root) {
    each(root, "the file", [&](std::string_view key, const toml::node& node) {
      if (key == "classify") return classify(node);
      if (key == "policy") return table(node, "[policy]", [&](auto k, const auto& n) { return policy(k, n); });
      if (key == "run") return table(node, "[run]", [&](auto k, const auto& n) { return run(k, n); });
      return false;
    });
    if (error_) return *error_;
    return std::move(config_);
  }

 private:
  // fn(key, node) is false if it does not know the key.
  template <typename Fn>
  void each(const toml::table& table, std::string_view where, Fn&& fn) {
    for (const auto& [key, node] : table) {
      if (error_) return;
      if (!fn(key.str(), node) && !error_)
        fail(key.source().begin, "unknown key \"" + std::string(key.str()) + "\" in " + std::string(where));
    }
  }
  template <typename Fn>
  bool table(const toml::node& node, std::string_view where, Fn&& fn) {
    if (const auto* inner = node.as_table()) {
      each(*inner, where, fn);
    } else {
      fail(node.source().begin, std::string(where) + " is not a table");
    }
    return true;
  }

  bool classify(const toml::node& node) {
    const auto* list = node.as_array();
    if (list == nullptr) return fail(node.source().begin, "\"classify\" is not a list of tables: write [[classify]]");
    for (const toml::node& entry : *list) {
      if (error_) return true;
      ClassifyRule rule{"", "classified"};
      table(entry, "[[classify]]", [&](std::string_view key, const toml::node& value) {
        if (key == "label") {
          if (text(key, value, rule.label) && !store::is_label_name(rule.label))
            fail(value.source().begin, "\"" + rule.label + "\" is not a label name (1 to 32 of A-Z a-z 0-9 _ . -)");
          return true;
        }
        if (key != "pattern") return false;
        if (!text(key, value, rule.pattern)) return true;
        if (auto pattern = diffusion::Pattern::parse(rule.pattern); !pattern)
          fail(value.source().begin, pattern.error().message);
        return true;
      });
      if (!error_ && rule.pattern.empty()) return fail(entry.source().begin, "[[classify]] without \"pattern\"");
      config_.classify.push_back(std::move(rule));
      if (config_.classify.size() > diffusion::PatternSet::kMaxPatterns)
        return fail(entry.source().begin,
                    "more than " + std::to_string(diffusion::PatternSet::kMaxPatterns) + " [[classify]]");
    }
    return true;
  }

  bool policy(std::string_view key, const toml::node& node) {
    if (key != "leak") return false;
    std::string value;
    if (!text(key, node, value)) return true;
    if (value != "alert" && value != "deny")
      return fail(node.source().begin, "\"leak\" is neither \"alert\" nor \"deny\"");
    config_.deny_leaks = value == "deny";
    return true;
  }

  bool run(std::string_view key, const toml::node& node) {
    if (key == "memory") {
      std::string value;
      if (!text(key, node, value)) return true;
      auto size = parse_size(value);
      if (!size) return fail(node.source().begin, size.error().message);
      config_.memory = *size;
      return true;
    }
    if (key == "cpus") {
      const auto* number = node.as_integer();
      if (number == nullptr || number->get() < 1 || number->get() > 4096)
        return fail(node.source().begin, "\"cpus\" is not a number from 1 to 4096");
      config_.cpus = static_cast<unsigned>(number->get());
      return true;
    }
    if (key == "disks") {
      const auto* list = node.as_array();
      if (list == nullptr) return fail(node.source().begin, "\"disks\" is not a list");
      for (const toml::node& entry : *list)
        if (!text(key, entry, config_.disks.emplace_back())) return true;
      return true;
    }
    struct Member {
      std::string_view key;
      std::optional<std::string>& value;
    };
    for (const Member& member :
         {Member{"vm", config_.vm}, Member{"kernel", config_.kernel}, Member{"initrd", config_.initrd},
          Member{"append", config_.append}, Member{"qemu", config_.qemu}, Member{"state", config_.state}})
      if (key == member.key) {
        text(key, node, member.value.emplace());
        return true;
      }
    return false;
  }

  bool text(std::string_view key, const toml::node& node, std::string& out) {
    const auto* value = node.as_string();
    if (value == nullptr) fail(node.source().begin, "\"" + std::string(key) + "\" is not a string");
    if (value != nullptr && value->get().empty()) fail(node.source().begin, "\"" + std::string(key) + "\" is empty");
    if (error_) return false;
    out = value->get();
    return true;
  }

  // True, so that callers can return it: the key is known, what is behind it is wrong.
  bool fail(const toml::source_position& at, const std::string& what) {
    if (!error_)
      error_ =
          Error{Errc::invalid, file_ + ":" + std::to_string(at.line) + ":" + std::to_string(at.column) + ": " + what};
    return true;
  }

  const std::string& file_;
  Config config_;
  std::optional<Error> error_;
};

}  // namespace

Result<Config> parse(std::string_view text, const std::string& file) {
  if (text.size() > kMaxFile) return Error{Errc::limit, file + ": larger than " + std::to_string(kMaxFile) + " bytes"};
  const toml::parse_result result = toml::parse(text);
  if (!result) {
    const auto& at = result.error().source().begin;
    return Error{Errc::invalid, file + ":" + std::to_string(at.line) + ":" + std::to_string(at.column) + ": " +
                                    std::string(result.error().description())};
  }
  return Reader(file).read(result.table());
}

Result<Config> load(const std::string& path) {
  auto text = store::read_file(path, kMaxFile);
  if (!text) return text.error();
  return parse(*text, path);
}

}  // namespace oboro::config
