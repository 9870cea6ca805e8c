// A Linux guest in memory, for tests: structures are laid out by a made-up profile and filled member by member.
//
// All of it is made on one thread; once made, any number of threads may read it through kernel().
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "guest/address_space.h"
#include "guest/file.h"
#include "guest/kernel.h"
#include "guest/socket.h"
#include "guest/task.h"
#include "tests/support/engine/fake_memory.h"
#include "tests/support/engine/fake_vcpu.h"
#include "tests/support/guest/fake_profile.h"

namespace oboro::fake {

using guest::Field;
using guest::Symbol;

inline constexpr Gva kDirectMap{0xffff888000000000};
inline constexpr Gva kImageBase{0xffffffff81000000};
inline constexpr Gpa kImageStart{0x400000};
inline constexpr uint64_t kThreadSize = 16384;

struct FileSystem {
  Gva sb, root;  // super_block, dentry
};

class FakeGuest {
 public:
  static constexpr uint32_t kDescriptors = 256;  // numbers in a process's table
  explicit FakeGuest(size_t memory_size = size_t{64} << 20);

  // To be changed before the first call of kernel(), or anything that builds upon what is changed.
  guest::Profile profile;
  guest::Layout layout;
  FakeMemory memory;

  const guest::Kernel& kernel();

  // --- objects
  // Zeroed; begins a page of its own, so that hide() takes this object away and no other.
  Gva allocate(uint64_t size = kPageSize);
  Gva vmalloc(uint64_t size);  // outside of the direct map: pages that do not follow each other
  // Memory of a program, at this address in the address space of memory.root(). Its bytes follow each other.
  std::span<std::byte> map_user(Gva at, uint64_t size);
  void hide(Gva object) { memory.hide(physical(object)); }
  Gva symbol(Symbol symbol) const;
  void write(Gva at, const void* bytes, size_t size);
  template <typename T>
  void write(Gva at, T value) {
    write(at, &value, sizeof value);
  }
  // What lies behind a member of less than eight bytes is not zero: reading too much of it shows.
  template <typename T>
  void set(Gva object, Field field, T value) {
    if constexpr (sizeof(T) < 8) write(object + profile[field], uint64_t{0xa5a5a5a5a5a5a5a5});
    write(object + profile[field], value);
  }
  uint64_t word(Gva at);
  uint64_t get(Gva object, Field field) { return word(object + profile[field]); }
  Gva string(std::string_view text);

  // --- tasks (fake_task.cpp)
  // A process in the list of processes, with a stack, mm, signal_struct and files_struct; or a further thread of one.
  Gva task(uint32_t tgid, std::string_view comm);
  Gva thread(Gva leader, uint32_t tid);
  Gva kernel_thread(uint32_t pid, std::string_view comm);
  void set_root(Gva task, Gva mount, Gva dentry);
  Gva mm(Gva task) { return Gva(get(task, Field::task_mm)); }
  void share_mm(Gva task, Gva mm);  // vfork, or clone with CLONE_VM
  void set_system_call(Gva task, uint64_t number);
  void set_file(Gva task, uint32_t descriptor, Gva file);
  void set_exe(Gva task, Gva file) { set(mm(task), Field::mm_exe_file, file); }
  void run(FakeVcpu& vcpu, Gva task);

  // --- files (fake_file.cpp)
  FileSystem file_system(uint64_t magic, std::string_view type, uint32_t dev, uint8_t uuid = 0);
  Gva inode(Gva sb, guest::FileType type, uint64_t number);
  Gva dentry(Gva parent, std::string_view name, Gva inode = Gva());
  Gva make_file(const FileSystem& fs, std::string_view name, uint64_t number);  // dentry of a new regular file
  Gva inode_of(Gva dentry) { return Gva(get(dentry, Field::dentry_inode)); }
  Gva mount(const FileSystem& fs, Gva parent, Gva mountpoint, Gva root = Gva(), Gva ns = Gva());  // struct mount
  Gva open(Gva dentry, Gva mount = Gva(), bool writable = true);                                  // struct file
  std::pair<Gva, Gva> pipe();  // pipe_inode_info, struct file
  Gva initial_mount_namespace() { return mount_ns_; }

  // --- the page cache (fake_page_cache.cpp)
  // Makes these the file's bytes, all of them cached: in folios of 1 << order pages, at most 64 pages, in a tree of
  // `levels` levels of nodes (0: the one page is the root). Gives where they are; they follow each other.
  Gva cache(Gva inode, std::string_view bytes, unsigned order = 0, unsigned levels = 1);
  Gva page_of(Gva at);                        // struct page
  Gva cache_head(Gva inode);                  // address_space.i_pages.xa_head
  Gva cache_slot(Gva inode, uint64_t index);  // of the lowest node
  void set_up_to_date(Gva folio, bool yes);

  // --- address spaces (fake_address_space.cpp)
  Gva vma(Gva mm, Gva file, uint64_t flags);
  // Makes these the mappings of mm: a maple tree of `levels` levels of nodes (0: the one mapping is the root).
  void set_vmas(Gva mm, const std::vector<Gva>& vmas, unsigned levels = 1);
  void set_mappers(Gva inode, const std::vector<Gva>& vmas);  // address_space.i_mmap

  // --- sockets (fake_socket.cpp)
  Gva net() const { return net_; }
  Gva sock(guest::Family family, guest::SocketType type, uint16_t protocol = 0);
  Gva socket(Gva sock);                                   // struct socket
  Gva socket_file(Gva socket, uint64_t number);           // struct file
  std::pair<Gva, Gva> unix_pair(guest::SocketType type);  // socks
  void bind_unix(Gva sock, std::string_view name);
  Gva tcp(const guest::IpEndpoint& local, const guest::IpEndpoint& remote);
  Gva udp(const guest::IpEndpoint& local);  // bound: in the table
  void connect(Gva sock, const guest::IpEndpoint& remote);
  Gva device(const std::vector<guest::IpAddress>& addresses, Gva net = Gva());
  Gva add_namespace();
  void move_to_namespace(Gva sock, Gva net) { set(sock, Field::sock_net, net); }
  Gva message_to(const guest::IpEndpoint& to);  // msghdr

 private:
  Gpa physical(Gva at) const;
  Gva make_task(uint32_t tid, std::string_view comm);
  void append(Gva head, Gva link);  // list_add_tail

  std::unique_ptr<guest::Kernel> kernel_;
  uint64_t next_page_ = 0;
  Gva next_vmalloc_{0xffffc90000000000};
  Gva mount_ns_, net_, per_cpu_, udp_slots_, root_cgroup_, vmemmap_;
};

// "10.0.2.15", "fe80::1"
guest::IpAddress address(const char* text);
inline guest::IpEndpoint endpoint(const char* text, uint16_t port) { return {address(text), port}; }

}  // namespace oboro::fake
