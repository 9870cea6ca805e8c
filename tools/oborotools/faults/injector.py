"""What tests/faults/injector.cpp has counted in a process, and what a power loss would have left of its files."""

import os
import struct

CALLS = ("write", "pwrite", "sync", "rename", "link", "unlink", "open", "truncate", "allocate", "mmap", "memfd", "mkdir", "malloc", "fork", "thread",
         "socket")
_HEAD = struct.Struct(f"={len(CALLS) + 2}Q")
_FILE = struct.Struct("=2Q")
# Their content is no file's: the ring is memory that two processes share, and what it loses is another test's.
_NOT_LOST = ("ring", "ring.read", "lock")


class Seen:
    def __init__(self, data):
        fired, *counts, files = _HEAD.unpack_from(data)
        self.fired = fired
        self.counts = dict(zip(CALLS, counts))
        self.synced = dict(_FILE.unpack_from(data, _HEAD.size + i * _FILE.size) for i in range(files))

    @classmethod
    def read(cls, path):
        """Nothing was counted if the process did not come so far as to be one."""
        try:
            with open(path, "rb") as handle:
                return cls(handle.read())
        except FileNotFoundError:
            return cls(bytes(_HEAD.size))


def lose_power(directory, seen):
    """Cuts each file below off where it was last synchronised: names stay, and bytes behind that are lost. That is what a file system may do."""
    for place, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(place, name)
            status = os.lstat(path)
            kept = seen.synced.get(status.st_ino, status.st_size)
            if kept < status.st_size and name not in _NOT_LOST:
                os.truncate(path, kept)
