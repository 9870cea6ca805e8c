// The configuration file of `oboro run --config FILE`: TOML, read on the host, docs/cli.md describes it.
//
//   [[classify]]
//   pattern = "/srv/secret/**"
//   label = "plan"              # "classified" if it is not there
//
//   [hide.audit-logger]         # docs/hiding.md
//   exe = "/usr/sbin/rsyslogd"  # or unit = "rsyslog.service"
//   children = true
//   files = ["/var/log/secure/**"]
//   network = "remote"          # or "none"
//   to = ["203.0.113.0/24:6514/tcp", "log.example.org:443/tcp"]
//   listen = [6514]
//   max_memory = "512M"         # of its proxy
//   max_files = 1024
//   max_disk = "2G"            # of its files; without it: no bound
//
//   [policy]
//   leak = "deny"               # or "alert"
//
//   [safety]                    # each "report", "deny" or "pause"
//   on_incomplete = "deny"
//   on_full_table = "deny"
//   on_journal_unavailable = "pause"
//   on_supervisor_loss = "deny" # or "kill", "detach"
//
//   [journal]
//   segment = "256M"
//   retention = "90d"
//   max_size = "10G"
//   max_rate = "4M"             # a second, of what the guest has written
//   max_events = 10000
//   heads = "/mnt/elsewhere/heads"
//   heads_command = ["/usr/bin/logger", "-t", "oboro"]
//   heads_every = "60s"
//
//   [run]
//   memory = "1G"
//   cpus = 2
//   vm = "demo"
//   kernel = "/boot/vmlinuz"
//   initrd = "/boot/initrd.img"
//   append = "console=ttyS0"
//   disks = ["guest.qcow2", "data.img,format=raw"]  # as --disk takes them
//   qemu = "/usr/bin/qemu-system-x86_64"
//   state = "/var/lib/oboro/demo"
//
// An unknown key is an error: a misspelt key must not leave something unclassified.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "disk/option.h"
#include "link/settings.h"
#include "policy/policy.h"
#include "store/journal/keeping.h"

namespace oboro::config {

inline constexpr size_t kMaxFile = 1024 * 1024;

struct Config {
  std::vector<link::HiddenService> hide;
  std::vector<link::ClassifyRule> classify;  // their labels by name
  policy::Policy policy;
  store::Keeping journal;
  std::optional<uint64_t> memory;  // bytes
  std::optional<unsigned> cpus;
  std::optional<std::string> vm, kernel, initrd, append, qemu, state;
  std::vector<disk::Disk> disks;
};

// Errors: invalid, with "FILE:LINE:COLUMN: what"; limit (too large); not_found, io.
Result<Config> load(const std::string& path);
Result<Config> parse(std::string_view text, const std::string& file);

}  // namespace oboro::config
