// Configuration files. Whatever is taken must be usable: its patterns and destinations parse, and these are what they
// say.
#include <cstdlib>
#include <string>
#include <vector>

#include "config/config.h"
#include "labels/pattern.h"
#include "proxy/destination.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace oboro;
  const auto config = config::parse({reinterpret_cast<const char*>(data), size}, "fuzz");
  if (!config) return 0;
  for (const auto& rule : config->classify)
    if (!labels::Pattern::parse(rule.pattern) || rule.label.empty()) std::abort();
  for (const auto& service : config->hide) {
    for (const auto& pattern : service.files)
      if (!labels::Pattern::parse(pattern)) std::abort();
    for (const auto& text : service.to.value_or(std::vector<std::string>())) {
      const auto destination = proxy::parse_destination(text);
      if (!destination) std::abort();
      const auto again = proxy::parse_destination(destination->text());
      if (!again || again->text() != destination->text()) std::abort();
      // The borders of a network are in it.
      std::vector<std::byte> address = destination->network.base;
      const auto held = [&](uint16_t port) { return destination->holds(address, port, destination->protocol); };
      const bool named = !destination->name.empty();
      if (named == (held(destination->first_port) && held(destination->last_port))) std::abort();
      for (size_t bit = destination->network.prefix; bit < address.size() * 8; ++bit)
        address[bit / 8] |= static_cast<std::byte>(0x80U >> bit % 8);
      if (named == held(destination->last_port)) std::abort();
    }
  }
  return 0;
}
