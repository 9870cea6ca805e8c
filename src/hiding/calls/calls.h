// The system calls that concern hidden files and sockets: which they are, and what is done for each. All others are the
// guest kernel's.
#pragma once

#include <cstdint>
#include <fcntl.h>
#include <memory>
#include <string>

#include "hiding/service/thread.h"

namespace oboro::hiding {

struct CallHandler {
  Routine<Outcome> (*run)(Thread&, SystemCall) = nullptr;
  // The argument that must be a descriptor in the proxy; else the call is the kernel's. -1: run() decides.
  int descriptor = -1;
};

// Null: of no interest.
const CallHandler* handler_of(uint64_t number);

// --- shared by the files of this folder

inline Outcome answer(int64_t value) { return Outcome::answer(value); }
inline int64_t s(uint64_t value) { return static_cast<int64_t>(value); }

// What a path argument means: the absolute path, and whether that is hidden.
struct PathArgument {
  int64_t error = 0;  // 0 or -errno
  bool hidden = false;
  bool empty = false;    // ""
  bool nowhere = false;  // relative to what is no directory of ours, nor of the guest's
  unsigned dots = 0;     // at its end: "." or ".."
  std::string path;
  std::shared_ptr<OpenFile> link;  // what "/proc/self/fd/N" leads to, if it is ours
};
enum class Links { followed, themselves };  // what the call means when the path ends at a link
// directory: a descriptor or AT_FDCWD.
Routine<PathArgument> path_argument(Thread& thread, int directory, uint64_t user, Links links = Links::followed);
PathArgument path_of(Thread& thread, int directory, std::string text, Links links = Links::followed);
// The process's root directory, as seen from the guest's own; empty if it is that.
std::string root_of(Thread& thread);

inline constexpr int kHere = AT_FDCWD;
inline uint64_t path_descriptor(int directory) { return static_cast<uint32_t>(directory); }
// A call with one path that the proxy executes and that has nothing but a result. what: for the log; null: none.
// may_be_empty: the call has AT_EMPTY_PATH.
Routine<Outcome> on_path(Thread& thread, int directory, uint64_t user, proxy::Op op, std::array<int64_t, 4> arguments,
                         const char* what, bool may_be_empty = false, std::vector<std::byte> second = {});

inline proxy::Frame path_frame(proxy::Op op, const std::string& path, std::array<int64_t, 4> arguments = {}) {
  proxy::Frame frame;
  frame.op = op;
  frame.first = proxy::bytes_of(path);
  frame.arguments = arguments;
  return frame;
}
// A frame about an open file.
inline proxy::Frame frame_of(proxy::Op op, const OpenFile& file, std::array<int64_t, 4> arguments = {}) {
  proxy::Frame frame;
  frame.op = op;
  frame.handle = file.handle;
  frame.arguments = arguments;
  return frame;
}

// The file a descriptor argument stands for; the dispatcher has seen that it is there, another thread may have closed
// it since.
inline std::shared_ptr<OpenFile> file_of(Thread& thread, const SystemCall& call, size_t argument) {
  return thread.descriptors->find(static_cast<uint32_t>(call.a[argument]));
}

// The socket that the first argument stands for; null: the error is another.
std::shared_ptr<OpenFile> socket_of(Thread& thread, const SystemCall& call, int64_t& error);
// An address that a call gives; nothing if it gives none. 0 or -errno.
Routine<int64_t> copy_address(Thread& thread, uint64_t user, uint64_t size, std::vector<std::byte>& out);
// One that it is given, as move_addr_to_user(): what fits, and the full size. 0 or -errno.
Routine<int64_t> give_address(Thread& thread, uint64_t user, uint64_t size_user, std::span<const std::byte> address);
// What the kernel says is wrong with it; 0: nothing.
int64_t wrong_address(const OpenFile& file, uint64_t user, std::span<const std::byte> address, bool may_dissolve);

// A buffer argument in parts (readv, sendmsg...).
inline constexpr size_t kMaxParts = 1024;  // UIO_MAXIOV
struct Part {
  uint64_t base, size;  // struct iovec
};
Routine<int64_t> copy_parts(Thread& thread, uint64_t user, uint64_t count, std::vector<Part>& out);  // 0 or -errno
// Bytes of the service's that are on their way to the proxy.
struct Gathered {
  explicit Gathered(Thread& thread) : share(thread.service().proxy->outgoing()) {}
  std::vector<std::byte> bytes;
  Budget::Share share;
};
// What is in the parts, up to kMaxData bytes from `skip` on (kMaxDatagram, where the service makes us hold much), or as
// much of it as there is memory. 0 or -errno.
inline constexpr size_t kMaxDatagram = 1 << 16;
Routine<int64_t> gather(Thread& thread, const std::vector<Part>& parts, uint64_t skip, Gathered& out);
// The other way; how much was given, or -errno if nothing.
Routine<int64_t> scatter(Thread& thread, const std::vector<Part>& parts, uint64_t skip,
                         std::span<const std::byte> bytes);
uint64_t total(const std::vector<Part>& parts);
// What was received and could not be given to the service comes again with the next receive. Datagrams are lost then,
// as the kernel has it.
Routine<int64_t> give_back(Thread& thread, std::shared_ptr<OpenFile> file, std::span<const std::byte> bytes,
                           uint64_t flags = 0);

// --- labels (flows.cpp): a hidden service is traced like any other
// A file that was just opened, by its path.
void classify(Thread& thread, const OpenFile& file);
// What was never opened under a name that classifies it is about to lose that name. Always 0.
Routine<int64_t> classify_before_renaming(Thread& thread, const std::string& from, const std::string& to);
// The service is about to write to the file, or has read from it.
void give_labels(Thread& thread, const OpenFile& file);
void take_labels(Thread& thread, const OpenFile& file);
// It is about to send to another machine; address: as in the call, or nothing for where the socket leads. False: it
// must not.
bool may_send(Thread& thread, const OpenFile& file, std::span<const std::byte> address);
event::Endpoint endpoint_of(std::span<const std::byte> address);

// What the service did, for the log; its name and the error are filled in.
void report(Thread& thread, const OpenFile& file, event::Hidden done, int64_t result = 0);
// address: as in the call (struct sockaddr).
void report_socket(Thread& thread, OpenFile& file, std::span<const std::byte> address, event::Hidden done,
                   int64_t result);
void report_path(Thread& thread, const std::string& path, event::Hidden done, int64_t result);
// Something a program asked for that a proxy cannot do; the error. What is asked for again and again is not reported
// each time.
int64_t refuse(Thread& thread, const std::string& path, std::string what, int64_t error);

// struct stat (or struct statx) of what the frame asks about.
Routine<Outcome> stat_to_user(Thread& thread, proxy::Frame frame, uint64_t user, bool extended);

// --- the groups
Routine<Outcome> read_call(Thread&, SystemCall);
Routine<Outcome> write_call(Thread&, SystemCall);
Routine<Outcome> sendfile_call(Thread&, SystemCall);
Routine<Outcome> utimensat_call(Thread&, SystemCall);
Routine<Outcome> utimes_call(Thread&, SystemCall);  // and utime, futimesat
// bind or connect of a socket that is the guest's own; for the kernel, unless it would name something hidden.
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
