// What labels go from and to: a carrier, and the structures from which its description is read if it is needed. Nodes
// are small values, made anew in each hook.
#pragma once

#include <variant>

#include "event/event.h"
#include "guest/file.h"
#include "guest/socket.h"
#include "guest/task.h"
#include "labels/carrier.h"
#include "policy/policy.h"

namespace oboro::hooks {

struct ProcessNode {
  guest::Task task;  // any of its threads
};
struct FileNode {
  guest::Inode inode;
  guest::Dentry name;  // one of its names, where one is at hand
};
// A file that is outside of the guest (src/hiding).
struct OutsideFileNode {
  const event::Object* description;  // it must outlive the node
};
struct SocketNode {
  guest::Sock sock;
  guest::IpEndpoint to{};  // the datagram's destination, where the socket is not connected to it
};
// One direction of a TCP connection inside the guest.
struct ConnectionNode {
  guest::Sock sock;  // the end at hand
  bool receiving;    // whether the direction leads to that end
};
struct PipeNode {
  guest::Inode inode;  // none where only the pipe is at hand
  guest::Dentry name;  // of a FIFO
};
struct TerminalNode {
  Gva tty;
};
struct QueueNode {
  guest::Dentry name;  // of a POSIX message queue
};

struct Node {
  labels::Carrier carrier;
  std::variant<std::monostate, ProcessNode, FileNode, OutsideFileNode, SocketNode, ConnectionNode, PipeNode,
               TerminalNode, QueueNode>
      what;

  template <typename T>
  const T* as() const {
    return std::get_if<T>(&what);
  }
};

inline Node process_node(guest::Reader& r, guest::Task of) {
  return {{labels::CarrierKind::process, of.tgid(r)}, ProcessNode{of}};
}
inline Node file_node(guest::Inode inode, guest::Dentry name) {
  return {{labels::CarrierKind::inode, inode.at.value}, FileNode{inode, name}};
}
inline Node socket_node(guest::Sock sock) { return {{labels::CarrierKind::socket, sock.at.value}, SocketNode{sock}}; }
inline Node pipe_node(Gva pipe, guest::Inode inode = {}, guest::Dentry name = {}) {
  return {{labels::CarrierKind::pipe, pipe.value}, PipeNode{inode, name}};
}
inline Node terminal_node(Gva tty) { return {{labels::CarrierKind::terminal, tty.value}, TerminalNode{tty}}; }
// object: struct kern_ipc_perm of a System V queue, struct inode of a POSIX one.
inline Node queue_node(Gva object, guest::Dentry name = {}) {
  return {{labels::CarrierKind::queue, object.value}, QueueNode{name}};
}

// The channel of a flow between the two: that of the node which is no process.
policy::Channel channel_between(const Node& from, const Node& to);

}  // namespace oboro::hooks
