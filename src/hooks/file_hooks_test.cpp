
#include "event/detail.h"
#include "hooks/hook_test.h"

namespace oboro::hooks {
namespace {

constexpr uint64_t kProtRead = 1, kProtWrite = 2, kMapShared = 1, kMapPrivate = 2;
constexpr uint64_t kTmpfs = 0x01021994, kAnonInodes = 0x09041934;

class FileHooks : public HookTest {
 protected:
  void classify(const char* text, uint64_t mask = kSecret) {
    auto pattern = labels::Pattern::parse(text);
    ASSERT_TRUE(pattern);
    ASSERT_TRUE(patterns.add(std::move(*pattern), mask));
  }
};

TEST_F(FileHooks, ReadOfLabelledFileTaints) {
  label_file(secret);
  read(reader, guest.open(plain));
  EXPECT_EQ(labels(reader), 0u);
  EXPECT_EQ(told(), Told{});
  guest.set_system_call(reader, sys::pread64);
  read(reader, guest.open(secret));
  EXPECT_EQ(labels(reader), kSecret);
  ASSERT_EQ(reporter.events.size(), 1u);
  const event::Event event = reporter.events[0];
  EXPECT_EQ(event.kind, Kind::diffusion);
  EXPECT_EQ(event.labels, kSecret);
  EXPECT_EQ(event.syscall, "pread64");
  EXPECT_EQ(event.subject.pid, 100u);
  EXPECT_EQ(event.subject.comm, "reader");
  EXPECT_EQ(event.from.path, "/secret");
  EXPECT_EQ(event.from.inode, 11u);
  EXPECT_EQ(event.from.fs_type, "ext4");
  EXPECT_EQ(event.object.process.start_time_ns, 100000u);
  EXPECT_NE(event.from.id, event.object.id);
  EXPECT_EQ(event.object.id, state.find(process(reader)).id);
  EXPECT_EQ(told(), Told{"diffusion /secret > 100"});
  read(reader, guest.open(secret));
  EXPECT_EQ(told(), Told{}) << "nothing new";
  EXPECT_EQ(labels(writer), 0u);
}

TEST_F(FileHooks, WritingIsNotReading) {
  label_file(secret);
  write(reader, guest.open(secret));
  EXPECT_EQ(labels(reader), 0u);
}

TEST_F(FileHooks, WriteOfManagedProcessLabelsInodeAndIdentity) {
  write(writer, guest.open(plain));
  EXPECT_EQ(labels(inode(plain)), 0u);
  label(writer);
  read(writer, guest.open(plain));
  EXPECT_EQ(labels(inode(plain)), 0u) << "reading is not writing";
  write(writer, guest.open(plain));
  EXPECT_EQ(labels(inode(plain)), kSecret);
  EXPECT_EQ(labels(identity(plain)), kSecret);
  EXPECT_EQ(state.find(inode(plain)).id, state.find(identity(plain)).id);
  EXPECT_EQ(told(), Told{"diffusion 200 > /plain"});
  EXPECT_EQ(state.count(CarrierKind::file), 1u);
}

TEST_F(FileHooks, LabelsAddUp) {
  label_file(secret);
  label(reader, kOther);
  read(reader, guest.open(secret));
  EXPECT_EQ(labels(reader), kSecret | kOther);
  EXPECT_EQ(reporter.events.at(0).labels, kSecret) << "what is new";
}

TEST_F(FileHooks, AnonymousInodesTakeNoLabels) {
  const auto anon = guest.file_system(kAnonInodes, "anon_inodefs", 14);
  const Gva event_fd = guest.make_file(anon, "[eventfd]", 1);
  label(writer);
  write(writer, guest.open(event_fd));
  EXPECT_EQ(labels(inode(event_fd)), 0u);
}

TEST_F(FileHooks, EvictedAndReopenedFileIsStillLabelled) {
  label_file(secret);
  call(Symbol::fn_inode_free, writer, {guest.inode_of(secret).value});
  EXPECT_EQ(labels(inode(secret)), 0u);
  EXPECT_EQ(labels(identity(secret)), kSecret);
  EXPECT_EQ(told(), Told{}) << "the file still exists";
  const Gva again = guest.make_file(disk, "secret", 11);
  open(reader, guest.open(again));
  EXPECT_EQ(labels(inode(again)), kSecret);
  EXPECT_EQ(told(), Told{});
  read(reader, guest.open(again));
  EXPECT_EQ(labels(reader), kSecret);
  open(reader, guest.open(plain));
  EXPECT_EQ(labels(inode(plain)), 0u);
}

TEST_F(FileHooks, RemovedFileIsForgotten) {
  label_file(secret);
  guest.set(guest.inode_of(secret), Field::inode_nlink, uint32_t{0});
  call(Symbol::fn_d_delete, reader, {secret.value});
  call(Symbol::fn_inode_free, reader, {guest.inode_of(secret).value});
  EXPECT_EQ(labels(inode(secret)), 0u);
  EXPECT_EQ(labels(identity(secret)), 0u);
  EXPECT_EQ(told(), (Told{"unlinked /secret", "removed /secret"}));
  EXPECT_EQ(state.count(CarrierKind::file), 0u);
}

TEST_F(FileHooks, FilesOfTmpfsEndWithTheirInode) {
  const auto tmp = guest.file_system(kTmpfs, "tmpfs", 23, 0x40);
  guest.mount(tmp, root_mount, guest.dentry(disk.root, "tmp"));
  const Gva file = guest.make_file(tmp, "x", 5);
  label_file(file);
  call(Symbol::fn_inode_free, reader, {guest.inode_of(file).value});
  EXPECT_EQ(labels(identity(file)), 0u);
  ASSERT_EQ(reporter.events.size(), 1u);
  EXPECT_EQ(reporter.events[0].object.fs, "dev 0:23");
  EXPECT_EQ(told(), Told{"removed /tmp/x"});
}

TEST_F(FileHooks, PatternsClassifyAtOpen) {
  classify("/secret");
  open(reader, guest.open(plain));
  EXPECT_EQ(labels(inode(plain)), 0u);
  open(reader, guest.open(secret));
  EXPECT_EQ(labels(inode(secret)), kSecret);
  EXPECT_EQ(labels(identity(secret)), kSecret);
  ASSERT_EQ(reporter.events.size(), 1u);
  EXPECT_EQ(event::detail(reporter.events[0]), "/secret");
  EXPECT_EQ(told(), Told{"classified /secret"});
  EXPECT_EQ(labels(reader), 0u) << "open is not read";
  open(writer, guest.open(secret));
  EXPECT_EQ(told(), Told{});
}

TEST_F(FileHooks, PatternsMatchTheMountedPathToo) {
  classify("/bind/*");
  const Gva directory = guest.dentry(disk.root, "dir", guest.inode(disk.sb, FileType::directory, 20));
  const Gva file = guest.dentry(directory, "f", guest.inode(disk.sb, FileType::regular, 21));
  const Gva bind = guest.mount(disk, root_mount, guest.dentry(disk.root, "bind"), directory);
  open(reader, guest.open(file));
  EXPECT_EQ(labels(inode(file)), 0u);
  open(reader, guest.open(file, bind));
  EXPECT_EQ(labels(inode(file)), kSecret);
}

TEST_F(FileHooks, DirectoriesAndPipesAreNotClassified) {
  classify("/**");
  const Gva directory = guest.dentry(disk.root, "dir", guest.inode(disk.sb, FileType::directory, 20));
  open(reader, guest.open(directory));
  EXPECT_EQ(labels(inode(directory)), 0u);
}

TEST_F(FileHooks, CoreDumpTakesTheLabelsOfTheProcess) {
  label(writer);
  open(writer, guest.open(plain));
  EXPECT_EQ(labels(inode(plain)), 0u);
  guest.set(writer, Field::task_flags, uint32_t{0x200});
  open(writer, guest.open(plain, Gva(), false));
  EXPECT_EQ(labels(inode(plain)), 0u);
  open(writer, guest.open(plain));
  EXPECT_EQ(labels(inode(plain)), kSecret);
}

TEST_F(FileHooks, MmapTakesAndSharedWritableGives) {
  label_file(secret);
  call(Symbol::fn_mmap_file, reader, {0, kProtRead, kMapPrivate});  // anonymous
  call(Symbol::fn_mmap_file, reader, {guest.open(plain).value, kProtRead | kProtWrite, kMapShared});
  EXPECT_EQ(told(), Told{});
  call(Symbol::fn_mmap_file, reader, {guest.open(secret).value, kProtRead, kMapPrivate});
  EXPECT_EQ(told(), Told{"diffusion /secret > 100"});
  const Gva file = guest.open(plain);
  call(Symbol::fn_mmap_file, reader, {file.value, kProtRead | kProtWrite, kMapPrivate});
  call(Symbol::fn_mmap_file, reader, {file.value, kProtRead, kMapShared});
  EXPECT_EQ(labels(inode(plain)), 0u);
  call(Symbol::fn_mmap_file, reader, {file.value, kProtRead | kProtWrite, kMapShared});
  EXPECT_EQ(told(), Told{"diffusion 100 > /plain"});
  const Gva third = guest.make_file(disk, "third", 13);
  call(Symbol::fn_mmap_file, reader, {guest.open(third).value, kProtWrite, 3});  // MAP_SHARED_VALIDATE
  EXPECT_EQ(labels(inode(third)), kSecret);
}

TEST_F(FileHooks, MprotectOfASharedMappingGives) {
  label(reader);
  const Gva file = guest.open(plain);
  const Gva private_vma = guest.vma(guest.mm(reader), file, 1);
  const Gva shared_vma = guest.vma(guest.mm(reader), file, 1 | guest::kVmShared);
  call(Symbol::fn_file_mprotect, reader, {private_vma.value, kProtWrite});
  call(Symbol::fn_file_mprotect, reader, {shared_vma.value, kProtRead});
  EXPECT_EQ(labels(inode(plain)), 0u);
  call(Symbol::fn_file_mprotect, reader, {shared_vma.value, kProtWrite});
  EXPECT_EQ(labels(inode(plain)), kSecret);
}

TEST_F(FileHooks, SharedWritableMappingsFollowTheirProcess) {
  label_file(secret);
  guest.set_vmas(guest.mm(reader),
                 {guest.vma(guest.mm(reader), guest.open(plain), guest::kVmShared | guest::kVmWrite)});
  read(reader, guest.open(secret));
  EXPECT_EQ(told(), (Told{"diffusion /secret > 100", "diffusion 100 > /plain"}));
  EXPECT_EQ(labels(identity(plain)), kSecret);
}

TEST_F(FileHooks, MappersFollowTheirFile) {
  const Gva third = guest.task(300, "third");
  guest.set_mappers(guest.inode_of(plain), {guest.vma(guest.mm(reader), guest.open(plain), 1),
                                            guest.vma(guest.mm(third), guest.open(plain), 1)});
  label(writer);
  write(writer, guest.open(plain));
  EXPECT_EQ(told(), (Told{"diffusion 200 > /plain", "diffusion /plain > 100", "diffusion /plain > 300"}));
  EXPECT_EQ(labels(reader), kSecret);
  EXPECT_EQ(labels(third), kSecret);
}

TEST_F(FileHooks, ClassifyingReachesMappers) {
  classify("/secret");
  guest.set_mappers(guest.inode_of(secret), {guest.vma(guest.mm(reader), guest.open(secret), 1)});
  open(writer, guest.open(secret));
  EXPECT_EQ(told(), (Told{"classified /secret", "diffusion /secret > 100"}));
  EXPECT_EQ(labels(writer), 0u);
}

// A mapped file is written. Its mapper maps another file, shared and writable, and another process maps that one.
TEST_F(FileHooks, ChainsAreFollowedToTheirEnd) {
  const Gva third = guest.task(300, "third"), file = guest.make_file(disk, "second", 13);
  const Gva vma = guest.vma(guest.mm(reader), guest.open(plain), 1);
  guest.set_mappers(guest.inode_of(plain), {vma});
  guest.set_vmas(guest.mm(reader),
                 {vma, guest.vma(guest.mm(reader), guest.open(file), guest::kVmShared | guest::kVmWrite)});
  guest.set_mappers(guest.inode_of(file), {guest.vma(guest.mm(third), guest.open(file), 1)});
  label(writer);
  write(writer, guest.open(plain));
  EXPECT_EQ(labels(third), kSecret);
  EXPECT_EQ(told().size(), 4u);
}

TEST_F(FileHooks, KernelThreadsAreNotTainted) {
  const Gva kthread = guest.kernel_thread(30, "kworker");
  label_file(secret);
  read(kthread, guest.open(plain));
  EXPECT_EQ(gaps().size(), 0u);
  read(kthread, guest.open(secret));
  EXPECT_EQ(labels(kthread), 0u);
  EXPECT_EQ(gaps(), std::vector<std::string>{"a kernel thread received classified data"});
}

TEST_F(FileHooks, NamesComeAndGo) {
  const Gva other_name = guest.dentry(disk.root, "other");
  call(Symbol::fn_inode_link, reader, {secret.value, 0, other_name.value});
  call(Symbol::fn_d_move, reader, {secret.value, other_name.value});
  call(Symbol::fn_d_exchange, reader, {secret.value, plain.value});
  call(Symbol::fn_d_delete, reader, {secret.value});
  EXPECT_EQ(told(), Told{});
  label_file(secret);
  call(Symbol::fn_inode_link, reader, {secret.value, 0, other_name.value});
  EXPECT_EQ(told(), Told{"linked /other"});
  call(Symbol::fn_d_move, reader, {secret.value, other_name.value});
  ASSERT_EQ(reporter.events.size(), 1u);
  EXPECT_EQ(event::detail(reporter.events[0]), "/secret");
  EXPECT_EQ(told(), Told{"renamed /other"});
  call(Symbol::fn_d_move, reader, {plain.value, secret.value});
  EXPECT_EQ(told(), Told{"unlinked /secret"}) << "replaced by a file without labels";
  call(Symbol::fn_d_exchange, reader, {plain.value, secret.value});
  EXPECT_EQ(told(), Told{"renamed /plain"});
  call(Symbol::fn_d_delete, reader, {other_name.value});  // negative
  EXPECT_EQ(told(), Told{});
}

// What would be moved there by d_move(): the fake guest's kernel moves nothing.
TEST_F(FileHooks, RenamedDirectoriesAreToldIfThereAreNamesBelow) {
  const auto directory = [&](Gva above, const char* name, uint64_t number) {
    return guest.dentry(above, name, guest.inode(disk.sb, FileType::directory, number));
  };
  const auto move = [&](Gva from, Gva to) { call(Symbol::fn_d_move, reader, {from.value, to.value}); };
  const Gva upper = directory(disk.root, "upper", 20), lower = directory(upper, "lower", 21);
  const Gva other = directory(disk.root, "other", 22), target = guest.dentry(disk.root, "moved");
  const Gva file = guest.dentry(lower, "file", guest.inode(disk.sb, FileType::regular, 23));
  move(upper, target);
  EXPECT_EQ(told(), Told{});
  label_file(secret);
  move(upper, target);
  EXPECT_EQ(told(), Told{}) << "nothing with labels has been seen below it";
  label(writer);
  write(writer, guest.open(file));
  EXPECT_EQ(told(), Told{"diffusion 200 > /upper/lower/file"});
  move(other, target);
  EXPECT_EQ(told(), Told{});
  move(lower, target);
  EXPECT_EQ(told(), Told{"renamed /moved"});
  move(upper, target);
  EXPECT_EQ(told(), Told{"renamed /moved"});
  // The names below it are below its new name, whatever they are.
  const Gva moved = directory(disk.root, "moved", 20);
  move(directory(moved, "any", 24), guest.dentry(disk.root, "away"));
  move(directory(directory(disk.root, "away", 24), "further", 25), guest.dentry(other, "in"));
  move(other, guest.dentry(disk.root, "last"));
  EXPECT_EQ(told(), (Told{"renamed /away", "renamed /other/in", "renamed /last"}));
  move(directory(disk.root, "another", 26), guest.dentry(disk.root, "last"));
  EXPECT_EQ(told(), Told{});
}

TEST_F(FileHooks, BothHalvesOfAnExchangeAreToldIfTheFirstIs) {
  const auto directory = [&](const char* name, uint64_t number) {
    return guest.dentry(disk.root, name, guest.inode(disk.sb, FileType::directory, number));
  };
  const Gva one = directory("one", 20), two = directory("two", 21);
  label_file(secret);
  call(Symbol::fn_d_exchange, reader, {one.value, two.value});
  EXPECT_EQ(told(), Told{});
  call(Symbol::fn_d_exchange, reader, {secret.value, two.value});
  EXPECT_EQ(told(), (Told{"renamed /two", "renamed /secret"}));
  call(Symbol::fn_d_exchange, reader, {one.value, secret.value});
  EXPECT_EQ(told(), Told{"renamed /one"}) << "the file's half";
}

// A file is classified all the same if it is renamed before anybody has opened it.
TEST_F(FileHooks, PatternsMatchTheOldName) {
  classify("/secret");
  const Gva target = guest.dentry(disk.root, "harmless");
  call(Symbol::fn_d_move, reader, {plain.value, target.value});
  EXPECT_EQ(told(), Told{});
  call(Symbol::fn_d_move, reader, {secret.value, target.value});
  EXPECT_EQ(told(), (Told{"classified /secret", "renamed /harmless"}));
  EXPECT_EQ(labels(identity(secret)), kSecret);
}

TEST_F(FileHooks, ClassifiedDirectoryHandsItsLabelsOn) {
  classify("/dir/**");
  const Gva directory = guest.dentry(disk.root, "dir", guest.inode(disk.sb, FileType::directory, 20));
  const Gva file = guest.dentry(directory, "f", guest.inode(disk.sb, FileType::regular, 21));
  call(Symbol::fn_d_move, reader, {directory.value, guest.dentry(disk.root, "moved").value});
  const Gva name = guest.string("moved");
  guest.set(directory, Field::dentry_name, name);
  guest.set(directory, Field::dentry_name_len, uint32_t{5});
  EXPECT_EQ(labels(inode(file)), 0u);
  open(reader, guest.open(plain));
  EXPECT_EQ(labels(inode(plain)), 0u);
  open(reader, guest.open(file));
  EXPECT_EQ(labels(inode(file)), kSecret);
}

TEST_F(FileHooks, DirectoryOfWhichOnlySomeMatchIsAGap) {
  classify("/dir/*.key");
  const Gva directory = guest.dentry(disk.root, "dir", guest.inode(disk.sb, FileType::directory, 20));
  call(Symbol::fn_d_move, reader, {directory.value, guest.dentry(disk.root, "moved").value});
  EXPECT_EQ(gaps().size(), 1u);
}

// Overlayfs up to 6.6: the real inode, opened under the path in the overlay.
TEST_F(FileHooks, RealFileOfAnOverlayIsKnownByItsOwnName) {
  classify("/secret");
  const auto overlay = guest.file_system(0x794c7630, "overlay", 40);
  guest.mount(overlay, root_mount, guest.dentry(disk.root, "merged"));
  const Gva file = guest.open(guest.make_file(overlay, "secret", 11));
  guest.set(file, Field::file_inode, guest.inode_of(secret));
  open(reader, file);
  EXPECT_EQ(told(), Told{"classified /secret"});
}

// An object that cannot be read is no object: a label on null would be a label on everything that cannot be read later.
TEST_F(FileHooks, UnreadableObjectsTakeNoLabels) {
  label(writer);
  const Gva file = guest.open(plain);
  const Gva shared = guest.vma(guest.mm(reader), file, guest::kVmShared | guest::kVmWrite);
  guest.set_vmas(guest.mm(reader), {shared});
  label_file(secret);
  guest.hide(file);  // the mapped one
  read(reader, guest.open(secret));
  EXPECT_FALSE(gaps().empty());
  EXPECT_EQ(labels(reader), kSecret);
  EXPECT_EQ(labels(Carrier(CarrierKind::inode, 0)), 0u);
  EXPECT_EQ(told(), Told{"diffusion /secret > 100"});
}

TEST_F(FileHooks, UnreadableIdentityIsNotLabelled) {
  label(writer);
  const Gva nameless = guest.make_file(disk, "x", 15), unreadable = guest.make_file(disk, "y", 16);
  const Gva file = guest.open(nameless), other = guest.open(unreadable);
  guest.hide(disk.sb);
  write(writer, file);
  EXPECT_EQ(labels(inode(nameless)), kSecret);
  open(reader, other);
  guest.memory.show_all();
  EXPECT_EQ(state.count(CarrierKind::file), 0u);
  EXPECT_FALSE(gaps().empty());
}

}  // namespace
}  // namespace oboro::hooks
