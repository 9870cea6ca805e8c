"""The packages that a guest kernel is made of."""

import dataclasses
import functools
import os
import re

from . import aptroot
from .cache import ToolError

# Up to 6.18 all is in linux-image-* (linux-base-6.18* has documentation only). From 6.19 on the image is in linux-binary-*, the modules are in linux-modules-* and their lists
# in linux-base-*.
PART = re.compile(r"linux-(base|binary|modules)-\d")
# The place in the archive of packages that are built from the kernel's own source: all of these except for the signed images.
POOL = "pool/main/l/linux"
MARK = "unverified"


@dataclasses.dataclass(frozen=True)
class Package:
    name: str
    version: str

    def __str__(self):
        return f"{self.name}={self.version}"

    @property
    def file(self):
        """Its name in the archive's pool, which leaves an epoch out."""
        return f"{self.name}_{self.version.partition(':')[2] or self.version}_amd64.deb"


@dataclasses.dataclass
class Kernel:
    image: Package
    listed: list  # of Package: what apt downloads, and verifies
    unlisted: list  # of Package: needed, but no longer in the archive's lists

    def __str__(self):
        return f"{self.image.name} {self.image.version}"


def pattern_of(key):
    """The names of the image packages of kernel `key`."""
    found = re.fullmatch(r"(\d+\.\d+)(-full)?", key)
    if not found:
        raise ToolError(f"'{key}' is no kernel: 6.1 or 6.1-full, for example")
    version, full = found.groups()
    return re.compile(rf"linux-image-{re.escape(version)}\.\d[^-]*(-\d+)?-{'amd64' if full else 'cloud-amd64'}")


def _by_age(left, right):
    return 1 if aptroot.newer(left.version, right.version) else -1 if left.version != right.version else 0


def resolve(apt, key, pinned=frozenset()):
    """The newest kernel `key` of which all parts are in the archive's lists; if there is none, the newest. One that is `pinned`, as (name, version),
    goes before a newer one.

    An archive drops what is built from an old kernel's source before the images that were signed apart, so backports list the images
    of 6.19 to 7.1 long after their modules."""
    pattern = pattern_of(key)
    images = []
    for name in apt.names(f"linux-image-{key.removesuffix('-full')}."):
        if pattern.fullmatch(name) and (found := apt.newest(name)):
            images.append(Package(name, found[0]))
    newest = None
    images.sort(key=functools.cmp_to_key(_by_age), reverse=True)
    images.sort(key=lambda image: (image.name, image.version) not in pinned)
    for image in images:
        kernel = Kernel(image, [image], [])
        parts = [(name, version) for name, version in apt.depends(image.name, image.version) if PART.match(name)]
        if not any(name.startswith("linux-modules-") for name, _ in parts):
            parts = []
        for name, version in parts:
            found = apt.newest(name)
            part = Package(name, version or (found[0] if found else image.version))
            (kernel.listed if found and found[0] == part.version else kernel.unlisted).append(part)
        if not kernel.unlisted:
            return kernel
        newest = newest or kernel
    if not newest:
        raise ToolError(f"the archive has no kernel {key} (no longer, or not yet)")
    return newest


def unpack_unlisted(apt, kernel, tree):
    """The parts of a kernel that the lists do not name, from the archive's pool into `tree`. Nothing vouches for them but the modules'
    signatures, and the kernel, which is verified, if it is made to insist on them (boot_options). So no more than files below
    /lib/modules is taken."""
    for part in kernel.unlisted:
        try:
            file = apt.download_from_pool(f"{POOL}/{part.file}", part.name, part.version)
        except ToolError as error:
            raise ToolError(f"the archive's lists name {kernel.image.name}, but not {part.name} that belongs to it, nor is that to be had "
                            f"from its pool ({error}); an older archive may have it (OBORO_DEBIAN_ARCHIVE)")
        try:
            apt.unpack_only([file], tree, "./usr/lib/modules")
        finally:
            os.unlink(file)


def mark(directory, kernel):
    """Notes in a kernel's directory which of its parts nobody has verified."""
    if kernel.unlisted:
        with open(os.path.join(directory, MARK), "w") as handle:
            handle.write("".join(f"{part}\n" for part in kernel.unlisted))


def boot_options(directory):
    """The words to add to the command line of the kernel in `directory`."""
    # Without the tests that a kernel makes of its own ciphers: half a second of emulation.
    return " cryptomgr.notests" + (" module.sig_enforce=1" if os.path.exists(os.path.join(directory, MARK)) else "")
