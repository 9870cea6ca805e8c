#include "disk/option.h"

namespace oboro::disk {
namespace {

// Takes the part before the next single comma off `rest`. False: there is no further part.
bool next_part(std::string_view& rest, bool& more, std::string& part) {
  if (!more) return false;
  part.clear();
  more = false;
  size_t at = 0;
  for (; at < rest.size(); ++at) {
    if (rest[at] == ',') {
      if (at + 1 == rest.size() || rest[at + 1] != ',') {
        more = true;
        ++at;
        break;
      }
      ++at;
    }
    part += rest[at];
  }
  rest.remove_prefix(at);
  return true;
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<Disk> parse() {
    std::string_view rest = text_;
    bool more = true;
    std::string part;
    next_part(rest, more, part);
    if (auto ok = file(part); !ok) return ok.error();
    disk_.images.push_back({part});
    while (next_part(rest, more, part))
      if (auto ok = property(part); !ok) return ok.error();
    if (auto ok = finish_image(); !ok) return ok.error();
    return std::move(disk_);
  }

 private:
  Image& image() { return disk_.images.back(); }

  Error fail(const std::string& what) const { return {Errc::invalid, "disk \"" + std::string(text_) + "\": " + what}; }

  Result<void> file(std::string_view path) const {
    if (path.empty()) return fail("a file without a name");
    if (path.find('\0') != path.npos) return fail("a NUL in a file's name");
    return {};
  }

  // Called when another image follows, or when this was the last one.
  Result<void> finish_image() {
    if (!image().data.empty()) {
      if (image().format == Format::raw) return fail("a raw image has no data file");
      image().format = Format::qcow2;
    }
    if (disk_.images.size() > 1 && !image().format)
      return fail("say what \"" + image().file + "\" is: backing-format=raw or backing-format=qcow2");
    return {};
  }

  Result<void> property(const std::string& part) {
    const size_t equals = part.find('=');
    const std::string key = part.substr(0, equals);
    const std::string value = equals == part.npos ? "" : part.substr(equals + 1);
    if (key == "format" || key == "backing-format") {
      const bool of_backing = key == "backing-format";
      if (of_backing && disk_.images.size() == 1) return fail("backing-format without a backing file before it");
      if (!of_backing && disk_.images.size() > 1) return fail("format belongs before backing; see backing-format");
      if (image().format) return fail(key + " is there twice");
      image().format = parse_format(value);
      if (!image().format) return fail(key + " is neither raw nor qcow2");
      return {};
    }
    if (key != "data" && key != "backing")
      return fail("\"" + key +
                  "\" is not known (format, data, backing, backing-format); a comma of a name is written ,,");
    if (auto ok = file(value); !ok) return ok;
    if (key == "data") {
      if (!image().data.empty()) return fail("data is there twice for one image");
      image().data = value;
      return {};
    }
    if (image().format == Format::raw) return fail("a raw image has no backing file");
    if (disk_.images.size() == 1) image().format = Format::qcow2;
    if (auto ok = finish_image(); !ok) return ok;
    if (disk_.images.size() == Disk::kMaxImages)
      return Error{Errc::limit, fail("more than " + std::to_string(Disk::kMaxImages) + " images").message};
    disk_.images.push_back({value});
    return {};
  }

  const std::string_view text_;
  Disk disk_;
};

}  // namespace

std::string_view name(Format format) { return format == Format::raw ? "raw" : "qcow2"; }

std::optional<Format> parse_format(std::string_view text) {
  for (const Format format : {Format::raw, Format::qcow2})
    if (text == name(format)) return format;
  return std::nullopt;
}

Result<Disk> parse_option(std::string_view text) { return Parser(text).parse(); }

}  // namespace oboro::disk
