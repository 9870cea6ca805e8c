// Hidden services as the configuration file has them, for the supervisor.
#pragma once

#include <vector>

#include "config/config.h"
#include "supervisor/launch/proxies.h"

namespace oboro::cli {

inline std::vector<supervisor::HiddenService> services_of(const config::Config& config) {
  std::vector<supervisor::HiddenService> services;
  for (const config::HideRule& rule : config.hide) {
    supervisor::HiddenService& service = services.emplace_back();
    service.name = rule.name;
    service.exe = rule.exe;
    service.unit = rule.unit;
    service.children = rule.children;
    service.network = rule.network;
    service.files = rule.files;
    service.listen = rule.listen;
    service.max_memory = rule.max_memory;
    service.max_files = rule.max_files;
  }
  return services;
}

}  // namespace oboro::cli
