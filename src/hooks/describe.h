// How a process and an object of the guest are written down in an event. Slow path: allocates, and reads much of the
// guest. A member that cannot be read stays empty, and marks the reader as failed.
#pragma once

#include "event/event.h"
#include "guest/file.h"
#include "guest/kernel.h"
#include "guest/task.h"

namespace oboro::hooks {

class Operation;
struct Node;

// Identifies the process. The members about its user, unit and arguments are filled in for an event's subject only.
event::Subject subject_of(guest::Reader& r, guest::Task of);
// Fills in the event's subject and system call: those of the task.
void describe_subject(Operation& op, event::Event& event, guest::Task of);
void describe(guest::Reader& r, const Node& node, event::Object& out);
// The file system that an event names for the file (event::Object::fs).
std::string file_system_of(guest::Reader& r, guest::Inode inode);

}  // namespace oboro::hooks
