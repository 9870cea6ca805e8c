"""Of what a built file consists, as the linker, the compiler and Debian's dpkg tell of it."""

import dataclasses
import os
import re

from . import cache
from .cache import ToolError

# By the names of Debian's copyright files. What is not here has no one name among SPDX's.
LICENCES = {"Expat": "MIT", "MIT": "MIT", "BSD-2-clause": "BSD-2-Clause", "BSD-3-clause": "BSD-3-Clause", "Zlib": "Zlib", "zlib": "Zlib",
            "GPL-2": "GPL-2.0-only", "GPL-2+": "GPL-2.0-or-later", "GPL-3+": "GPL-3.0-or-later", "LGPL-2.1": "LGPL-2.1-only",
            "LGPL-2.1+": "LGPL-2.1-or-later", "LGPL-3+": "LGPL-3.0-or-later", "Apache-2.0": "Apache-2.0"}


@dataclasses.dataclass(frozen=True, order=True)
class Package:
    """One of Debian's binary packages."""
    name: str
    version: str
    licence: str = "NOASSERTION"


class Owners:
    """Which package a file of this machine belongs to."""

    def __init__(self):
        self._packages = {}  # name: Package
        self._known = {}  # path: names of packages; what dpkg has been asked

    def of(self, paths):
        """The packages of these files; each must have one."""
        found, rest = set(), set()
        for path in paths:
            own = self._fetched(os.path.realpath(path))
            (found if own else rest).add(own or path)
        self._ask(rest - self._known.keys())
        unknown = sorted(rest - self._known.keys())
        if unknown:
            raise ToolError(f"no package of this machine has {', '.join(unknown[:3])}")
        return found | {self._package(name) for path in rest for name in self._known[path]}

    def _ask(self, paths):
        asked = {}
        for path in paths:
            real = os.path.realpath(path)
            # Of a file in /usr/lib, dpkg may know only that it is in /lib.
            for name in {real, path, real.removeprefix("/usr")}:
                asked.setdefault(name, set()).add(path)
        names = sorted(asked)
        for start in range(0, len(names), 500):
            for package, name in self._search(names[start:start + 500]):
                for path in asked.get(name, ()):
                    self._known.setdefault(path, set()).add(package)

    def _search(self, paths):
        # It ends with 1 if any of them is in no package.
        told = cache.run(["sh", "-c", 'LC_ALL=C dpkg-query -S -- "$@" 2>/dev/null || true', "sh", *paths])
        for line in told.splitlines():
            packages, _, path = line.rpartition(": ")
            if not packages.startswith("diversion "):
                yield packages.split(", ")[0], path

    def _package(self, name):
        if name not in self._packages:
            version = cache.run(["dpkg-query", "-W", "-f", "${Version}\n", name]).split()[0]
            plain = name.partition(":")[0]
            self._packages[name] = Package(plain, version, licence(f"/usr/share/doc/{plain}/copyright"))
        return self._packages[name]

    def _fetched(self, path):
        """A file that tools/fetch has unpacked."""
        root = os.path.realpath(cache.root()) + os.sep
        if not path.startswith(root):
            return None
        what = path[len(root):].split(os.sep)[0]
        try:
            with open(os.path.join(root, what, "version")) as handle:
                return Package(what + "-dev", handle.read().strip())
        except OSError:
            raise ToolError(f"{path} is from {root}{what}, which has no version")


def licence(path):
    """The licence of most files of a package, by its copyright file in Debian's machine-readable form; else NOASSERTION."""
    try:
        with open(path, errors="replace") as handle:
            text = handle.read()
    except OSError:
        return "NOASSERTION"
    found = re.search(r"^Files: *\*\s*\n(?:.+\n)*?License: *(\S+) *$", text, re.M)
    return LICENCES.get(found[1], "NOASSERTION") if found else "NOASSERTION"


def link_inputs(build, name):
    """What the linker read for the file `name`, as oboro_ship() has it written down."""
    path = os.path.join(build, "links", os.path.basename(name) + ".d")
    try:
        with open(path) as handle:
            words = handle.read().replace("\\\n", " ").split()
    except FileNotFoundError:
        raise ToolError(f"{path} is missing: {name} has not been linked by this build")
    target = words[0].removesuffix(":")
    return sorted({os.path.normpath(os.path.join(build, word)) for word in words if word.rstrip(":") != target and not word.endswith(":")})


def headers(build):
    """{object file: headers and sources that it was compiled from}, as the compiler told ninja."""
    found = {}
    # -n: a ninja that builds here at the same time is not disturbed.
    for line in cache.run(["ninja", "-C", build, "-n", "-t", "deps"]).splitlines():
        if line[:1].isspace():
            found[last].add(os.path.normpath(os.path.join(build, line.strip())))
        elif ": #deps" in line:
            last = os.path.normpath(os.path.join(build, line.partition(": #deps")[0]))
            found[last] = set()
    return found


def _outside(paths, *folders):
    return {path for path in paths if not any(path.startswith(folder + os.sep) for folder in folders)}


def of_file(build, source, name, deps, owners):
    """{"dynamic", "static", "headers": packages} that the shipped file `name` consists of or needs. `deps`: from headers()."""
    inputs = link_inputs(build, name)
    objects = {path for path in inputs if path.endswith(".o") and path.startswith(build + os.sep)}
    # Of a static library of ours, all objects: it is one folder.
    for archive in (path for path in inputs if path.endswith(".a") and path.startswith(build + os.sep)):
        folder = os.path.join(os.path.dirname(archive), "CMakeFiles", os.path.basename(archive)[len("lib"):-len(".a")] + ".dir")
        objects |= {path for path in deps if path.startswith(folder + os.sep)}
    used = set().union(*(deps.get(path, set()) for path in objects))
    if not used:
        raise ToolError(f"{build}: ninja does not know what {name} was compiled from")
    outside = _outside(inputs, build, source)
    dynamic = {path for path in outside if re.search(r"\.so(\.\d+)*$", path)}
    needed = set(re.findall(r"\(NEEDED\) +Shared library: \[([^]]+)\]", cache.run(["env", "LC_ALL=C", "readelf", "-dW", os.path.join(build, name)])))
    # The linker has looked at libraries that it then had no use for.
    taken = {os.path.realpath(path) for path in dynamic if os.path.basename(path) in needed or os.path.basename(os.path.realpath(path)) in needed
             or _soname(path) in needed}
    static = owners.of({path for path in outside - dynamic if path.endswith((".a", ".o"))})
    shared = owners.of(taken)
    return {"dynamic": shared, "static": static - shared, "headers": owners.of(_outside(used, build, source)) - static - shared}


def _soname(path):
    told = cache.run(["env", "LC_ALL=C", "readelf", "-dW", path], error=path) if os.path.getsize(path) > 4096 else ""
    found = re.search(r"\(SONAME\) +Library soname: \[([^]]+)\]", told)
    return found[1] if found else None
