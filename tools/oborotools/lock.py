"""tools/packages.lock: which version of each package was fetched when this was tested, and the SHA-256 of its file.

A file of the same name and version with another content is refused, whoever has signed it. Another version is taken, with a word: an
archive drops the old one when it has a newer, and apt has verified that it is the archive's. What apt or mmdebstrap installs
(tools/packages.txt, root images of guests) is not pinned: that is whatever the distribution has, and they verify it.
"""

import hashlib
import os
import re
import urllib.parse

from . import cache
from .cache import ToolError

PATH = os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), "packages.lock")
HEADER = """\
# What tools/fetch takes from the Debian archive: for what, package, version, SHA-256 of the file. Written by
# `tools/fetch --update all`, and checked after each download; tools/oborotools/lock.py says how.
"""
LISTED = 3  # so many changes are named, the others counted


def sha256(path):
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def of_file(path):
    """(package, version) of what apt has downloaded, by its name."""
    name, version, _ = os.path.basename(path).split("_")
    return name, urllib.parse.unquote(version)


class Lock:
    def __init__(self, path=PATH):
        self.path = path
        self.lines = []  # (what for, package, version, SHA-256)
        self._where = {}  # (package, version): (SHA-256, number of the line)
        self._versions = {}  # package: versions
        self.unpinned = {}  # what was downloaded and is not pinned, (package, version): SHA-256
        if not os.path.exists(path):
            return
        with open(path) as handle:
            for number, line in enumerate(handle, 1):
                if line.startswith("#") or not line.strip():
                    continue
                words = line.split()
                if len(words) != 4 or not re.fullmatch(r"[0-9a-f]{64}", words[3]):
                    raise ToolError(f"{path}:{number}: not 'WHAT PACKAGE VERSION SHA256'")
                _, package, version, digest = words
                other = self._where.setdefault((package, version), (digest, number))
                if other[0] != digest:
                    raise ToolError(f"{path}:{number}: {package} {version} has another SHA-256 in line {other[1]}")
                self.lines.append(tuple(words))
                self._versions.setdefault(package, set()).add(version)

    def versions(self, what):
        """{(package, version)} that were pinned for this."""
        return {(package, version) for purpose, package, version, _ in self.lines if purpose == what}

    def check(self, files):
        """Whether downloaded files, {path: (package, version)}, are those that are pinned: raises ToolError, and removes the file,
        if one has another content; says which ones have another version."""
        others, unknown = [], []
        for path, (package, version) in files.items():
            pinned = self._where.get((package, version))
            if pinned:
                found = sha256(path)
                if found != pinned[0]:
                    os.unlink(path)
                    raise ToolError(f"{package} {version}: the archive's file has SHA-256 {found}, {os.path.relpath(self.path)}:{pinned[1]} says {pinned[0]}; "
                                    "it is not used. If you know why it has changed: tools/fetch --update, or remove that line")
            elif package in self._versions:
                others.append(f"{package} {version} ({' or '.join(sorted(self._versions[package]))} is pinned)")
            else:
                unknown.append(f"{package} {version}")
            if not pinned:
                self.unpinned[(package, version)] = sha256(path)
        for found, what in ((others, "the archive has other versions than are pinned; taken, as it has signed them"),
                            (unknown, "not pinned by tools/packages.lock")):
            if found:
                more = f" and {len(found) - LISTED} more" if len(found) > LISTED else ""
                cache.say(f"note: {what}: {', '.join(found[:LISTED])}{more}")

    def pin(self, what, packages):
        """Replaces what is pinned for `what` by {(package, version): SHA-256}."""
        kept = [line for line in self.lines if line[0] != what]
        for (package, version), digest in packages.items():
            # The archive is asked now: for others' purposes it has changed as well.
            kept = [(*line[:3], digest) if line[1:3] == (package, version) else line for line in kept]
            kept.append((what, package, version, digest))
            self._where[(package, version)] = (digest, 0)
        self.lines = kept

    def pinned(self, package, version):
        """The SHA-256 of a package that is pinned or was downloaded, or None."""
        return self._where.get((package, version), (self.unpinned.get((package, version)),))[0]

    def save(self):
        with open(self.path + ".new", "w") as out:
            out.write(HEADER + "".join(" ".join(line) + "\n" for line in sorted(set(self.lines))))
        os.rename(self.path + ".new", self.path)
