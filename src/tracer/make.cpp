#include "tracer/make.h"

#include <string_view>
#include <utility>

namespace oboro::tracer {
namespace {

Result<std::vector<std::unique_ptr<hiding::Service>>> make_services(const link::Settings& settings,
                                                                    const link::Start& start) {
  std::vector<std::unique_ptr<hiding::Service>> services;
  if (start.proxies.size() != settings.services.size())
    return Error{Errc::invalid, "there are more hidden services than proxies, or fewer"};
  for (size_t i = 0; i < start.proxies.size(); ++i) {
    const link::HiddenService& from = settings.services[i];
    auto service = std::make_unique<hiding::Service>();
    service->name = from.name;
    service->exe = from.exe;
    service->unit = from.unit;
    service->children = from.children;
    service->network = from.network;
    for (const std::string& text : from.files) {
      Result<labels::Pattern> pattern = labels::Pattern::parse(text);
      if (!pattern) return pattern.error();
      service->files.push_back(std::move(*pattern));
    }
    const link::Start::Proxy& fds = start.proxies[i];
    Result<proxy::Channel> channel = proxy::Channel::attach(
        {UniqueFd(fds.memory), UniqueFd(fds.for_proxy), UniqueFd(fds.for_tracer)}, proxy::Channel::Side::tracer);
    if (!channel) return channel.error();
    service->set_first_proxy(std::make_shared<hiding::ProxyClient>(std::move(*channel), UniqueFd(fds.alive)));
    services.push_back(std::move(service));
  }
  return services;
}

}  // namespace

Result<std::unique_ptr<Tracer>> make_tracer(const engine::PhysicalMemory& memory, const link::Start& start) {
  Result<std::span<const std::byte>> text = link::map_whole(start.settings);
  if (!text) return Error{text.error().code, "settings: " + text.error().message};
  Result<link::Settings> settings = link::Settings::parse({reinterpret_cast<const char*>(text->data()), text->size()});
  if (!settings) return settings.error();
  Result<stream::RingWriter> ring = stream::RingWriter::attach({UniqueFd(start.ring), UniqueFd(start.ring_read)});
  if (!ring) return ring.error();
  Result<std::vector<std::unique_ptr<hiding::Service>>> services = make_services(*settings, start);
  if (!services) return services.error();
  return Tracer::create(memory, std::move(*settings), std::move(*ring), UniqueFd(start.control), std::move(*services));
}

Result<void> Tracer::renew_proxy(uint64_t service, std::vector<UniqueFd> fds) {
  if (service >= services_.size() || fds.size() != link::kProxyFds)
    return Error{Errc::invalid, "there is no such hidden service, or no such proxy"};
  Result<proxy::Channel> channel =
      proxy::Channel::attach({std::move(fds[0]), std::move(fds[1]), std::move(fds[2])}, proxy::Channel::Side::tracer);
  if (!channel) return channel.error();
  return services_[service]->renew_proxy(std::move(*channel), std::move(fds[3]));
}

}  // namespace oboro::tracer
