"""Programs of another Debian release, run from a directory of unpacked packages by their own loader."""

import os
import shutil

from . import cache

WRAPPER = """\
#!/bin/sh
# Starts {name} with the C library it was built for. Works wherever this tree is moved to.
prefix=$(dirname "$(dirname "$(readlink -f "$0")")")
exec "$prefix/lib64/ld-linux-x86-64.so.2" --library-path "$prefix/usr/lib/x86_64-linux-gnu" \\
    "$prefix/{path}"{arguments} "$@"
"""


def relative_links(prefix):
    """Makes every absolute link point inside the prefix; one that leads nowhere is removed."""
    for directory, folders, files in os.walk(prefix):
        for name in folders + files:
            link = os.path.join(directory, name)
            if not os.path.islink(link):
                continue
            target = os.readlink(link)
            if target.startswith("/"):
                os.unlink(link)
                os.symlink(os.path.relpath(prefix + target, directory), link)
            if not os.path.exists(link):
                os.unlink(link)


def drop_documentation(prefix):
    for name in ("doc", "man", "locale", "lintian", "bug", "info", "icons", "applications"):
        shutil.rmtree(os.path.join(prefix, "usr", "share", name), ignore_errors=True)


def fill(apt, prefix, packages, release, programs):
    """Unpacks `packages` and all they depend on into the directory `prefix`, and makes PREFIX/bin/NAME for each of
    `programs`, {NAME: (path in the prefix, fixed arguments)}."""
    with cache.lock("apt"):
        files = apt.download(apt.closure(packages, release))
        # The packages are made for a system in which /lib, /lib64 and /sbin are links.
        for name in ("lib", "lib64", "sbin"):
            os.makedirs(os.path.join(prefix, "usr", name))
            os.symlink("usr/" + name, os.path.join(prefix, name))
        with cache.progress(f"unpacking {packages[0]}"):
            apt.unpack(files, prefix)
        apt.clean(files)
    drop_documentation(prefix)
    relative_links(prefix)
    os.makedirs(os.path.join(prefix, "bin"), exist_ok=True)
    for name, (path, arguments) in programs.items():
        wrapper = os.path.join(prefix, "bin", name)
        with open(wrapper, "w") as handle:
            handle.write(WRAPPER.format(name=name, path=path, arguments=arguments))
        os.chmod(wrapper, 0o755)


def program(apt, package, name, path):
    """The command for a helper program that is not installed on this machine, fetched when first asked for."""
    destination = cache.path("programs", package)
    with cache.lock(f"program-{package}"):
        if not os.path.exists(os.path.join(destination, "bin", name)):
            with cache.making(destination) as prefix:
                fill(apt, prefix, [package], "trixie", {name: (path, "")})
    return os.path.join(destination, "bin", name)
