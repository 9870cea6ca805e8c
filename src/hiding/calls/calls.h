// The system calls that concern hidden files and sockets, and what is done for each. All other calls are the guest
// kernel's.
#pragma once

#include <cstdint>
#include <fcntl.h>
#include <memory>
#include <string>

#include "hiding/service/thread.h"

namespace oboro::hiding {

struct CallHandler {
  Routine<Outcome> (*run)(Thread&, SystemCall) = nullptr;
  // The argument that must be a descriptor in the proxy; otherwise the kernel executes the call. -1: run() decides.
  int descriptor = -1;
};

// Null: the call is of no interest.
const CallHandler* handler_of(uint64_t number);

// --- shared by the files of this folder

inline Outcome answer(int64_t value) { return Outcome::answer(value); }
inline int64_t s(uint64_t value) { return static_cast<int64_t>(value); }

// The meaning of a path argument: the absolute path, and whether that path is hidden.
struct PathArgument {
  int64_t error = 0;  // 0 or -errno
  bool hidden = false;
  bool empty = false;    // ""
  bool nowhere = false;  // relative to something that is neither a directory of ours nor of the guest's
  unsigned dots = 0;     // at its end: "." or ".."
  std::string path;
  std::shared_ptr<OpenFile> link;  // the file to which "/proc/self/fd/N" leads, if it is ours
};
enum class Links { followed, themselves };  // whether the call follows a link at the end of the path
// directory: a descriptor or AT_FDCWD.
Routine<PathArgument> path_argument(Thread& thread, int directory, uint64_t user, Links links = Links::followed);
PathArgument path_of(Thread& thread, int directory, std::string text, Links links = Links::followed);
// The process's root directory, as a path in the guest's root; empty if it is the guest's root.
std::string root_of(Thread& thread);

inline constexpr int kHere = AT_FDCWD;
inline uint64_t path_descriptor(int directory) { return static_cast<uint32_t>(directory); }
// A call with one path, which the proxy executes, and which has no other result than 0 or an error. what: its name in
// the log; null: it is not logged. may_be_empty: the call has AT_EMPTY_PATH.
Routine<Outcome> on_path(Thread& thread, int directory, uint64_t user, proxy::Op op, std::array<int64_t, 4> arguments,
                         const char* what, bool may_be_empty = false, std::vector<std::byte> second = {});

inline ProxyCall path_frame(proxy::Op op, const std::string& path, std::array<int64_t, 4> arguments = {}) {
  ProxyCall frame;
  frame.op = op;
  frame.first = proxy::bytes_of(path);
  frame.arguments = arguments;
  return frame;
}
// A frame that is about an open file.
inline ProxyCall frame_of(proxy::Op op, const OpenFile& file, std::array<int64_t, 4> arguments = {}) {
  ProxyCall frame;
  frame.of = file.proxy;
  frame.op = op;
  frame.handle = file.handle;
  frame.arguments = arguments;
  return frame;
}

// The file of a descriptor argument. The dispatcher has seen it there; another thread may have closed it since (null).
inline std::shared_ptr<OpenFile> file_of(Thread& thread, const SystemCall& call, size_t argument) {
  return thread.descriptors->find(static_cast<uint32_t>(call.a[argument]));
}

// The socket of the first argument. Null: `error` says why.
std::shared_ptr<OpenFile> socket_of(Thread& thread, const SystemCall& call, int64_t& error);
// Copies an address that the call gives; `out` stays empty if it gives none. 0 or -errno.
Routine<int64_t> copy_address(Thread& thread, uint64_t user, uint64_t size, std::vector<std::byte>& out);
// Gives an address to the program, as move_addr_to_user() does: as much as fits, and the full size. 0 or -errno.
Routine<int64_t> give_address(Thread& thread, uint64_t user, uint64_t size_user, std::span<const std::byte> address);
// The error that the kernel has for this address; 0: none.
int64_t wrong_address(const OpenFile& file, uint64_t user, std::span<const std::byte> address, bool may_dissolve);

// A buffer argument in parts (readv, sendmsg...).
inline constexpr size_t kMaxParts = 1024;  // UIO_MAXIOV
struct Part {
  uint64_t base, size;  // struct iovec
};
Routine<int64_t> copy_parts(Thread& thread, uint64_t user, uint64_t count, std::vector<Part>& out);  // 0 or -errno
// Bytes of the service on their way to the proxy.
struct Gathered {
  explicit Gathered(Thread& thread) : share(thread.service().proxy()->outgoing()) {}
  std::vector<std::byte> bytes;
  Budget::Share share;
};
// Copies in the bytes of the parts, from `skip` on: up to kMaxData bytes (kMaxDatagram, where the service makes this
// process hold much), or as much as there is memory for. 0 or -errno.
inline constexpr size_t kMaxDatagram = 1 << 16;
Routine<int64_t> gather(Thread& thread, const std::vector<Part>& parts, uint64_t skip, Gathered& out);
// Copies bytes out to the parts. How many were given, or -errno if none.
Routine<int64_t> scatter(Thread& thread, const std::vector<Part>& parts, uint64_t skip,
                         std::span<const std::byte> bytes);
uint64_t total(const std::vector<Part>& parts);
// Received bytes that could not be given to the service come again with the next receive. Datagrams are lost then, as
// with the kernel.
Routine<int64_t> give_back(Thread& thread, std::shared_ptr<OpenFile> file, std::span<const std::byte> bytes,
                           uint64_t flags = 0);

// --- labels (flows.cpp): a hidden service is traced like any other
// Classifies a file that was just opened, by its path.
void classify(Thread& thread, const OpenFile& file);
// Classifies a file that is about to lose its name, and that was never opened under that name. Always 0.
Routine<int64_t> classify_before_renaming(Thread& thread, const std::string& from, const std::string& to);
// The service is about to write to the file; or it has read from the file.
void give_labels(Thread& thread, const OpenFile& file);
void take_labels(Thread& thread, const OpenFile& file);
// Whether the service may send to another machine, which it is about to do. address: as in the call; empty: where the
// socket leads.
bool may_send(Thread& thread, const OpenFile& file, std::span<const std::byte> address);
event::Endpoint endpoint_of(std::span<const std::byte> address);

// Reports what the service did, for the log. This fills in the service's name and the error.
void report(Thread& thread, const OpenFile& file, event::Hidden done, int64_t result = 0);
// address: as in the call (struct sockaddr).
void report_socket(Thread& thread, OpenFile& file, std::span<const std::byte> address, event::Hidden done,
                   int64_t result);
void report_path(Thread& thread, const std::string& path, event::Hidden done, int64_t result);
// Refuses a call that a proxy cannot execute, and returns the error. A refusal that comes again and again is not
// reported each time.
int64_t refuse(Thread& thread, const std::string& path, std::string what, int64_t error);

// Gives the program a struct stat (or a struct statx) of the file that the frame is about.
Routine<Outcome> stat_to_user(Thread& thread, ProxyCall frame, uint64_t user, bool extended);

// --- handlers, by groups
Routine<Outcome> read_call(Thread&, SystemCall);
Routine<Outcome> write_call(Thread&, SystemCall);
Routine<Outcome> sendfile_call(Thread&, SystemCall);
Routine<Outcome> utimensat_call(Thread&, SystemCall);
Routine<Outcome> utimes_call(Thread&, SystemCall);  // and utime, futimesat
// bind or connect of a socket that is the guest's own: for the kernel, unless it would name something hidden.
Routine<Outcome> name_of_unix_socket(Thread& thread, uint64_t user, uint64_t size, const char* what);
Routine<Outcome> sendto_call(Thread&, SystemCall);
Routine<Outcome> sendmsg_call(Thread&, SystemCall);
Routine<Outcome> sendmmsg_call(Thread&, SystemCall);
Routine<Outcome> recvfrom_call(Thread&, SystemCall);
Routine<Outcome> recvmsg_call(Thread&, SystemCall);
Routine<Outcome> recvmmsg_call(Thread&, SystemCall);
Routine<Outcome> setsockopt_call(Thread&, SystemCall);
Routine<Outcome> getsockopt_call(Thread&, SystemCall);
Routine<Outcome> flock_call(Thread&, SystemCall);
Routine<Outcome> record_lock_call(Thread&, SystemCall);  // fcntl with F_SETLK and its kin
const CallHandler* file_call(uint64_t number);
const CallHandler* transfer_call(uint64_t number);
const CallHandler* descriptor_call(uint64_t number);
const CallHandler* socket_call(uint64_t number);
const CallHandler* poll_or_select(uint64_t number);
const CallHandler* epoll_call(uint64_t number);
const CallHandler* unsupported_call(uint64_t number);

}  // namespace oboro::hiding
