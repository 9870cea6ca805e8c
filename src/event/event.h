// What Oboro reports: one Event for each change of the diffusion state, each leak, and each change of the tracer
// itself. docs/formats.md documents the JSON form, which is the contract with users.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace oboro::event {

enum class Kind : uint8_t {
  started,     // oboro run began (detail: engine, QEMU)
  armed,       // hooks are in place (detail: kernel release, build ID, number of hooks, milliseconds it took)
  reset,       // the guest was reset or kexec'd: everything but the labels of persistent files is gone
  stopped,     // oboro run ended (detail: how)
  classified,  // object became classified by a path pattern (detail: the pattern)
  diffusion,   // labels went from `from` to `object`, which did not have all of them before
  leak,        // a managed process sends to somewhere outside the guest: `from` the process, `object` the socket
  exec,        // a managed process executed another program (subject: already the new one)
  exited,      // a managed process ended (object: the process)
  closed,      // a managed socket, pipe, queue... ended (object)
  renamed,     // a managed file, or a directory (object: new path; detail: old path)
  linked,      // a managed file got a further name (object.path)
  unlinked,    // a managed file lost a name (object.path)
  removed,     // a managed file is gone: no name, no descriptor (object)
  incomplete,  // something could not be traced (detail: what and why); the result is incomplete from here on
  lost,        // records were lost (detail: how many)
  hidden,      // a hidden service's call, executed by its proxy (object: the file or socket; detail: service, what)
  warning,     // worth knowing; the result stays complete
  refused,     // a send was refused that is no known leak (object: the socket; detail: why)
  count
};

enum class ObjectType : uint8_t { none, file, process, socket, pipe, terminal, queue, memory, count };
enum class Verdict : uint8_t { allow, alert, deny, count };

// A process as it was when the event happened.
struct Subject {
  uint32_t pid = 0;  // tgid, initial PID namespace
  uint32_t tid = 0;
  uint64_t start_time_ns = 0;  // task_struct.start_boottime of the group leader
  std::string comm;
  std::string exe;     // true path of mm_struct.exe_file
  std::string cgroup;  // cgroup v2 path; empty where there is none
};

struct Endpoint {
  std::string address;  // "10.0.2.2", "fec0::2", "/run/x.sock", "@abstract"; empty: unbound
  uint16_t port = 0;
};

struct Object {
  ObjectType type = ObjectType::none;
  uint64_t id = 0;  // identity within one state directory: never reused, the same for a file over reboots
  // file
  std::string path;  // true path: the file system's main mount point and the names below it
  uint64_t inode = 0;
  uint32_t generation = 0;
  std::string fs;       // UUID of the file system, or "dev 0:23" where it has none (labels then end with the boot)
  std::string fs_type;  // "ext4"
  // process
  Subject process;
  // socket ("unix-stream", "unix-dgram", "unix-seqpacket", "tcp", "udp", "raw", ...)
  std::string protocol;
  Endpoint local;
  Endpoint remote;
};

struct Event {
  uint64_t seq = 0;      // from 1 up by one within a state directory; a gap is a lost record. 0: a note of
                         // oboro run itself (damage, a full disk, a proxy's end), which stands outside of the sequence
  uint64_t time_ns = 0;  // host CLOCK_REALTIME
  uint32_t boot = 0;     // counts guest boots within a state directory
  Kind kind = Kind::warning;
  uint64_t labels = 0;  // bit mask; names are in the state directory's label table
  std::string syscall;  // "sendto"; empty where none is involved
  Subject subject;      // the process that did it; pid 0: none
  Object from;          // where the labels came from (diffusion, leak)
  Object object;
  Verdict verdict = Verdict::allow;
  std::string detail;
};

std::string_view name(Kind kind);
std::string_view name(ObjectType type);
std::string_view name(Verdict verdict);
// The other way round. False, and out untouched, if there is no such name.
bool parse(std::string_view text, Kind& out);
bool parse(std::string_view text, ObjectType& out);
bool parse(std::string_view text, Verdict& out);

}  // namespace oboro::event
