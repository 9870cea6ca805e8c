// The descriptors of hidden services that are open in a proxy. In the guest, such a number is only reserved: its kernel
// takes it for one that is just being opened, so it gives it to nobody, and shows it to nobody.
//
// Threads: any.
#pragma once

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "event/event.h"
#include "hiding/service/proxy_client.h"
#include "hiding/service/record_locks.h"
#include "hiding/service/shared.h"

namespace oboro::hiding {

// What a signal makes of a call that waits (include/linux/errno.h). The guest's kernel does the rest.
inline constexpr int64_t kRestartSys = -512, kRestartNoHand = -514, kRestartBlock = -516;

// An open file description; several descriptors may refer to it.
struct OpenFile {
  OpenFile(std::shared_ptr<ProxyClient> proxy_, RecordLocks& locks_, uint32_t handle_)
      : proxy(std::move(proxy_)), locks(locks_), handle(handle_) {}
  ~OpenFile() {
    locks.release(this, identity);
    proxy->close(handle);
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  const std::shared_ptr<ProxyClient> proxy;  // in which it is open; the service may have another by now
  RecordLocks& locks;
  const uint32_t handle;  // in the proxy
  bool is_socket = false;
  int family = 0, type = 0;  // of a socket
  std::string path;          // of a file: absolute
  // Which file it is: the same for all open file descriptions of it.
  uint64_t identity = reinterpret_cast<uint64_t>(this);
  // With a time limit (SO_RCVTIMEO, SO_SNDTIMEO), a signal ends a call for good: sock_intr_errno(), include/net/sock.h.
  std::atomic<bool> receive_limited{false}, send_limited{false};
  int64_t interrupted(bool sends) const { return (sends ? send_limited : receive_limited) ? -EINTR : kRestartSys; }
  Shared<event::Endpoint> peer;        // of a socket: as it was last named
  std::atomic<uint32_t> flags{0};      // access mode, O_APPEND, O_NONBLOCK
  std::atomic<int64_t> next_entry{0};  // of a directory: its position, as long as no call goes wrong
  std::atomic<uint64_t> bytes_in{0}, bytes_out{0};
};

struct Descriptor {
  std::shared_ptr<OpenFile> file;
  bool close_on_exec = false;
};

// An epoll instance of the guest's own. Once it is told to watch hidden sockets, the proxy gets an instance that
// watches these.
struct EpollInstance {
  struct Watched {
    uint32_t number = 0;
    std::weak_ptr<OpenFile> file;
    uint64_t data = 0;
    const ProxyClient* proxy = nullptr;  // of file, and there as long as that is
  };
  explicit EpollInstance(uint64_t eventpoll_) : eventpoll(eventpoll_) {}

  const uint64_t eventpoll;            // file.private_data in the guest: shows whether the instance is still this one
  std::shared_ptr<OpenFile> in_proxy;  // the proxy's instance, or null
  std::vector<Watched> watched;        // for the time when the proxy is gone
  bool ours_first = false;             // the events of the proxy have their turn
};

// The numbers of one files_struct.
class DescriptorTable {
 public:
  static constexpr size_t kMost = 1 << 17;  // of one service

  explicit DescriptorTable(std::atomic<size_t>& in_all) : in_all_(in_all) {}
  DescriptorTable(const DescriptorTable&) = delete;
  DescriptorTable& operator=(const DescriptorTable&) = delete;
  ~DescriptorTable() {
    in_all_ -= descriptors_.size();
    for (const auto& [number, descriptor] : descriptors_) unlock(*descriptor.file);
  }

  std::shared_ptr<OpenFile> find(uint64_t number) const {
    const std::lock_guard lock(mutex_);
    const auto found = descriptors_.find(static_cast<uint32_t>(number));
    return found == descriptors_.end() ? nullptr : found->second.file;
  }
  bool is_empty() const { return empty_.load(std::memory_order_relaxed); }
  bool has(uint64_t number) const { return !is_empty() && find(number); }
  bool close_on_exec(uint64_t number) const {
    const std::lock_guard lock(mutex_);
    const auto found = descriptors_.find(static_cast<uint32_t>(number));
    return found != descriptors_.end() && found->second.close_on_exec;
  }
  // False: all tables of the service together have kMost already. (The guest's kernel gives the numbers, and it may be
  // hostile.)
  bool set(uint64_t number, Descriptor descriptor) {
    const std::lock_guard lock(mutex_);
    const auto found = descriptors_.find(static_cast<uint32_t>(number));
    if (found != descriptors_.end()) {
      found->second = std::move(descriptor);
      return true;
    }
    if (in_all_.fetch_add(1) >= kMost) {
      --in_all_;
      return false;
    }
    descriptors_.emplace(static_cast<uint32_t>(number), std::move(descriptor));
    empty_ = false;
    return true;
  }
  // Sets the flag if the number is still this file's. Another thread may have closed it.
  void set_close_on_exec(uint64_t number, const std::shared_ptr<OpenFile>& file, bool on) {
    const std::lock_guard lock(mutex_);
    const auto found = descriptors_.find(static_cast<uint32_t>(number));
    if (found != descriptors_.end() && found->second.file == file) found->second.close_on_exec = on;
  }
  // Puts another file in the place of the one that is there, in one step. False: there is none.
  bool replace(uint64_t number, Descriptor descriptor) {
    {
      const std::lock_guard lock(mutex_);
      const auto found = descriptors_.find(static_cast<uint32_t>(number));
      if (found == descriptors_.end()) return false;
      std::swap(found->second, descriptor);
    }
    unlock(*descriptor.file);
    return true;
  }
  // Takes out the file that is there; null if there was none. As POSIX says, the process's record locks on that file
  // are gone then, whichever descriptor they were made by.
  std::shared_ptr<OpenFile> take(uint64_t number) {
    std::shared_ptr<OpenFile> file = take_entry(number);
    if (file) unlock(*file);
    return file;
  }
  struct Entry : Descriptor {
    uint32_t number = 0;
  };
  // The first entry from that number on. (A copy of all entries would be one for each thread in the middle of a call.)
  std::optional<Entry> next(uint64_t from) const {
    const std::lock_guard lock(mutex_);
    if (from > UINT32_MAX) return std::nullopt;
    const auto found = descriptors_.lower_bound(static_cast<uint32_t>(from));
    if (found == descriptors_.end()) return std::nullopt;
    return Entry{found->second, found->first};
  }
  // Copies all entries of another table into this one, which is new. False: there would be too many.
  bool copy(const DescriptorTable& other) {
    const std::lock_guard lock(other.mutex_);
    bool whole = true;
    for (const auto& [number, descriptor] : other.descriptors_) whole = whole && set(number, descriptor);
    epolls_ = other.epolls_;
    return whole;
  }
  // Epoll instances live as long as a table whose process may have them open.
  void hold(std::shared_ptr<EpollInstance> instance) {
    const std::lock_guard lock(mutex_);
    epolls_.insert(std::move(instance));
  }
  void let_go(const std::shared_ptr<EpollInstance>& instance) {
    const std::lock_guard lock(mutex_);
    epolls_.erase(instance);
  }

 private:
  void unlock(const OpenFile& file) const { file.locks.release(this, file.identity); }
  std::shared_ptr<OpenFile> take_entry(uint64_t number) {
    const std::lock_guard lock(mutex_);
    const auto found = descriptors_.find(static_cast<uint32_t>(number));
    if (found == descriptors_.end()) return nullptr;
    std::shared_ptr<OpenFile> file = std::move(found->second.file);
    descriptors_.erase(found);
    --in_all_;
    empty_ = descriptors_.empty();
    return file;
  }

  mutable std::mutex mutex_;
  std::atomic<bool> empty_{true};
  std::atomic<size_t>& in_all_;
  std::map<uint32_t, Descriptor> descriptors_;
  std::set<std::shared_ptr<EpollInstance>> epolls_;
};

}  // namespace oboro::hiding
