// Pipes, terminals and queues.

#include "hooks/hook_test.h"

namespace oboro::hooks {
namespace {

class StreamHooks : public HookTest {};

TEST_F(StreamHooks, Pipe) {
  const auto [pipe, file] = guest.pipe();
  const Carrier carrier(CarrierKind::pipe, pipe.value);
  write(writer, file);
  read(reader, file);
  EXPECT_EQ(labels(carrier), 0u);
  label(writer);
  write(writer, file);
  EXPECT_EQ(labels(carrier), kSecret);
  EXPECT_EQ(labels(reader), 0u) << "it has returned from read() meanwhile";
  read(reader, file);
  EXPECT_EQ(labels(reader), kSecret);
  EXPECT_EQ(told(), (Told{"diffusion 200 > pipe", "diffusion pipe > 100"}));
  call(Symbol::fn_free_pipe_info, reader, {pipe.value});
  EXPECT_EQ(labels(carrier), 0u);
  EXPECT_EQ(told(), Told{"closed pipe"});
  call(Symbol::fn_free_pipe_info, reader, {pipe.value});
  EXPECT_EQ(told(), Told{});
}

#ifndef OBORO_TEST_FILTERED  // receivers are remembered here only where nothing is filtered; else tasks leave notes
// Pipes come and go at the same addresses, and shells read from many.
TEST_F(StreamHooks, WhoReadTheEndedPipeDoesNotReadTheNextOne) {
  const auto [pipe, file] = guest.pipe();
  guest.set_system_call(reader, sys::read);
  read(reader, file);
  call(Symbol::fn_free_pipe_info, reader, {pipe.value});
  label(writer);
  write(writer, file);
  EXPECT_EQ(labels(reader), 0u);
}
#endif

TEST_F(StreamHooks, WhoReadsAnotherPipeDoesNotReadThisOne) {
  const auto [pipe, file] = guest.pipe();
  const auto [other_pipe, other_file] = guest.pipe();
  guest.set_system_call(reader, sys::read);
  read(reader, file);
  read(reader, other_file);
  label(writer);
  write(writer, file);
  EXPECT_EQ(labels(reader), 0u);
  write(writer, other_file);
  EXPECT_EQ(labels(reader), kSecret);
}

TEST_F(StreamHooks, PipeWithABlockedReader) {
  const auto [pipe, file] = guest.pipe();
  guest.set_system_call(reader, sys::readv);
  read(reader, file);
  label(writer);
  guest.set_system_call(writer, sys::write);
  write(writer, file);
  EXPECT_EQ(labels(reader), kSecret);
  ASSERT_EQ(reporter.events.size(), 2u);
  EXPECT_EQ(reporter.events[1].subject.pid, 100u) << "the reader does it";
  EXPECT_EQ(reporter.events[1].syscall, "readv");
  EXPECT_EQ(told(), (Told{"diffusion 200 > pipe", "diffusion pipe > 100"}));
}

#ifndef OBORO_TEST_FILTERED  // an ended task is in no list there
TEST_F(StreamHooks, ReceiverThatEndedMeanwhileIsNoGap) {
  const auto [pipe, file] = guest.pipe();
  guest.set_system_call(reader, sys::read);
  read(reader, file);
  guest.hide(reader);
  label(writer);
  write(writer, file);
  EXPECT_EQ(told(), Told{"diffusion 200 > pipe"});
}
#endif

TEST_F(StreamHooks, NamedPipeHasAPath) {
  const Gva info = guest.allocate(), node = guest.inode(disk.sb, FileType::fifo, 30);
  guest.set(node, Field::inode_pipe, info);
  const Gva fifo = guest.dentry(disk.root, "fifo", node);
  label(writer);
  write(writer, guest.open(fifo));
  ASSERT_EQ(reporter.events.size(), 1u);
  EXPECT_EQ(reporter.events[0].object.type, ObjectType::pipe);
  EXPECT_EQ(reporter.events[0].object.path, "/fifo");
}

TEST_F(StreamHooks, SpliceSendfileAndTee) {
  const auto [pipe, pipe_file] = guest.pipe();
  const auto [pipe2, pipe2_file] = guest.pipe();
  const Carrier carrier(CarrierKind::pipe, pipe.value), carrier2(CarrierKind::pipe, pipe2.value);
  label_file(secret);
  const Gva from = guest.open(secret), to = guest.open(plain);
  call(Symbol::fn_splice_file_to_pipe, reader, {from.value, pipe.value});
  EXPECT_EQ(told(), (Told{"diffusion /secret > 100", "diffusion 100 > pipe"}));
  EXPECT_EQ(labels(carrier), kSecret);
  call(Symbol::fn_do_tee, writer, {pipe_file.value, pipe2_file.value});
  EXPECT_EQ(told(), (Told{"diffusion pipe > 200", "diffusion 200 > pipe"}));
  EXPECT_EQ(labels(carrier2), kSecret);
  const Gva third = guest.task(300, "third");
  call(Symbol::fn_do_splice, third, {pipe2_file.value, 0, to.value});
  EXPECT_EQ(told(), (Told{"diffusion pipe > 300", "diffusion 300 > /plain"}));
  const Gva fourth = guest.task(400, "fourth"), target = guest.make_file(disk, "copy", 14);
  call(Symbol::fn_do_splice_direct, fourth, {to.value, 0, guest.open(target).value});
  EXPECT_EQ(told(), (Told{"diffusion /plain > 400", "diffusion 400 > /copy"}));
}

TEST_F(StreamHooks, SpliceWithoutLabelsSpreadsNothing) {
  const auto [pipe, pipe_file] = guest.pipe();
  const Gva from = guest.open(secret);
  for (const Symbol function : {Symbol::fn_do_splice, Symbol::fn_do_splice_direct})
    call(function, reader, {from.value, 0, pipe_file.value});
  call(Symbol::fn_splice_file_to_pipe, reader, {from.value, pipe.value});
  call(Symbol::fn_do_tee, reader, {pipe_file.value, pipe_file.value});
  EXPECT_EQ(told(), Told{});
}

TEST_F(StreamHooks, Vmsplice) {
  const auto [pipe, write_end] = guest.pipe();
  const Gva read_end = guest.open(Gva(guest.get(write_end, Field::file_path_dentry)), Gva(), false);
  guest.set_file(writer, 4, write_end);
  guest.set_file(reader, 5, read_end);
  const Gva arguments = guest.allocate();
  guest.set(arguments, Field::user_registers_argument, uint64_t{0xffffffff00000004});  // only the low half counts
  label(writer);
  call(Symbol::fn_vmsplice, writer, {arguments.value});
  EXPECT_EQ(labels(Carrier(CarrierKind::pipe, pipe.value)), kSecret);
  guest.set(arguments, Field::user_registers_argument, uint64_t{5});
  call(Symbol::fn_vmsplice, reader, {arguments.value});
  EXPECT_EQ(labels(reader), kSecret);
  told();
  for (const uint64_t descriptor : {uint64_t{6}, uint64_t{64}, uint64_t{0xffffffff}}) {  // not open
    guest.set(arguments, Field::user_registers_argument, descriptor);
    call(Symbol::fn_vmsplice, writer, {arguments.value});
  }
  EXPECT_EQ(told(), Told{});
}

TEST_F(StreamHooks, PosixMessageQueue) {
  const auto mqueue = guest.file_system(0x19800202, "mqueue", 19);
  const Gva queue = guest.make_file(mqueue, "q", 9), file = guest.open(queue);
  const Carrier carrier(CarrierKind::queue, guest.inode_of(queue).value);
  guest.set_file(writer, 3, file);
  guest.set_file(reader, 4, file);
  guest.set_system_call(reader, sys::mq_timedreceive);
  call(Symbol::fn_mq_timedsend, writer, {3});
  EXPECT_EQ(labels(carrier), 0u);
  call(Symbol::fn_mq_timedreceive, reader, {4});
  label(writer);
  call(Symbol::fn_mq_timedsend, writer, {3});
  EXPECT_EQ(told(), (Told{"diffusion 200 > /q", "diffusion /q > 100"})) << "it waited";
  const Gva third = guest.task(300, "third");
  guest.set_file(third, 1, file);
  call(Symbol::fn_mq_timedreceive, third, {1});
  EXPECT_EQ(labels(third), kSecret);
  told();
  call(Symbol::fn_inode_free, third, {guest.inode_of(queue).value});
  EXPECT_EQ(labels(carrier), 0u);
  EXPECT_EQ(told(), Told{"closed queue"});
}

class TerminalHooks : public StreamHooks {
 protected:
  TerminalHooks() {
    for (const Gva tty : {master, slave}) guest.set(tty, Field::tty_struct_link, tty == master ? slave : master);
    const char name[] = "pts0";
    guest.write(slave + guest.profile[Field::tty_struct_name], name, sizeof name);
    guest.write(master + guest.profile[Field::tty_struct_name], "ptm0", 5);
  }
  Gva open_tty(Gva tty, Symbol operations = Symbol::tty_fops) {
    const Gva dentry = guest.dentry(disk.root, "tty", guest.inode(disk.sb, FileType::character, 40));
    const Gva file = guest.open(dentry), data = guest.allocate();
    guest.set(file, Field::file_op, guest.symbol(operations));
    guest.set(file, Field::file_private_data, data);
    guest.set(data, Field::tty_file_private_tty, tty);
    return file;
  }
  Gva master = guest.allocate(), slave = guest.allocate();
};

TEST_F(TerminalHooks, WhatOneEndWritesTheOtherReads) {
  label(writer);
  write(writer, open_tty(master));
  EXPECT_EQ(told(), Told{"diffusion 200 > /dev/pts0"});
  read(reader, open_tty(master));
  EXPECT_EQ(labels(reader), 0u) << "the writer's own end";
  read(reader, open_tty(slave));
  EXPECT_EQ(labels(reader), kSecret);
  told();
  call(Symbol::fn_pty_cleanup, reader, {slave.value});
  EXPECT_EQ(told(), Told{"closed /dev/pts0"});
  EXPECT_EQ(labels(Carrier(CarrierKind::terminal, slave.value)), 0u);
}

TEST_F(TerminalHooks, BlockedReader) {
  guest.set_system_call(reader, sys::read);
  read(reader, open_tty(slave, Symbol::console_fops));
  label(writer);
  write(writer, open_tty(master));
  EXPECT_EQ(labels(reader), kSecret);
}

TEST_F(TerminalHooks, OtherCharacterDevicesAndLoneTerminalsTakeNothing) {
  label(writer);
  const Gva null = guest.open(guest.dentry(disk.root, "null", guest.inode(disk.sb, FileType::character, 41)));
  write(writer, null);
  read(reader, null);
  guest.set(master, Field::tty_struct_link, Gva());  // a serial line
  write(writer, open_tty(master));
  EXPECT_EQ(told(), Told{});
}

TEST_F(StreamHooks, UnreadableArgumentsAreReportedAndSpreadNothing) {
  label(reader);
  const size_t before = state.count(CarrierKind::inode);
  for (const HookPoint& point : hook_points()) {
    if (point.function == Symbol::fn_machine_kexec) continue;
    const uint64_t bad = 0xffff9fff00000000;
    call(point.function, reader, {bad, bad, bad, bad, bad});
  }
  EXPECT_GT(gaps().size(), 15u);
  EXPECT_EQ(state.count(CarrierKind::inode), before);
  EXPECT_EQ(labels(Carrier(CarrierKind::process, 0)), 0u);
  EXPECT_EQ(labels(Carrier(CarrierKind::inode, 0)), 0u);
  EXPECT_EQ(labels(Carrier(CarrierKind::pipe, 0)), 0u);
  EXPECT_EQ(labels(Carrier(CarrierKind::queue, 0)), 0u);
}

}  // namespace
}  // namespace oboro::hooks
