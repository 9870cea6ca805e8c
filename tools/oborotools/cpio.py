"""Writes cpio archives of the kind the kernel unpacks as an initramfs ("newc").  Several of them may be concatenated."""

import os
import stat

# Directories whose usual mode is not 0755: an archive that creates a file in them must not change it.
DIRECTORY_MODES = {"tmp": 0o1777, "var/tmp": 0o1777, "root": 0o700, "dev/shm": 0o1777}


class Archive:
    """Everything in it belongs to root and carries the same time, so that equal content gives equal bytes."""

    def __init__(self, handle):
        self.handle = handle
        self.inode = 0
        self.directories = set()

    def _entry(self, name, mode, data=b"", rdev=(0, 0)):
        self.inode += 1
        encoded = name.encode() + b"\0"
        header = b"070701" + b"".join(b"%08x" % value for value in (
            self.inode, mode, 0, 0, 2 if stat.S_ISDIR(mode) else 1, 1700000000, len(data), 0, 0, *rdev, len(encoded), 0))
        self.handle.write(header + encoded + b"\0" * (-(len(header) + len(encoded)) % 4))
        self.handle.write(data + b"\0" * (-len(data) % 4))

    def directory(self, name, mode=None):
        name = name.strip("/")
        if not name or name in self.directories:
            return
        self.directory(os.path.dirname(name))
        self.directories.add(name)
        self._entry(name, stat.S_IFDIR | (mode if mode is not None else DIRECTORY_MODES.get(name, 0o755)))

    def file(self, name, data, mode=0o644):
        name = name.strip("/")
        self.directory(os.path.dirname(name))
        self._entry(name, stat.S_IFREG | mode, data if isinstance(data, bytes) else data.encode())

    def link(self, name, target):
        name = name.strip("/")
        self.directory(os.path.dirname(name))
        self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def device(self, name, major, minor, mode=0o600):
        name = name.strip("/")
        self.directory(os.path.dirname(name))
        self._entry(name, stat.S_IFCHR | mode, rdev=(major, minor))

    def close(self):
        self._entry("TRAILER!!!", 0)
        # Kernel and QEMU are content with four bytes; a page keeps whatever is appended aligned.
        self.handle.write(b"\0" * (-self.handle.tell() % 4096))
