"""Builds what users get once more, elsewhere and without a compiler cache, and compares the bytes."""

import os
import re
import shutil
import subprocess
import tempfile

from . import cache, shipped
from .cache import ToolError

# Another name, of another length and depth, than any checkout has.
ELSEWHERE = os.path.join("built-again", "in-a-folder-whose-name-is-longer-than-that-of-the-first", "oboro")


def copy(source, destination):
    """The files that belong to the tree, whether they are committed or not."""
    listed = cache.run(["git", "-C", source, "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
    for name in listed.split("\0"):
        path = os.path.join(source, name)
        if not name or not os.path.isfile(path):
            continue
        target = os.path.join(destination, name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy(path, target)


def build(tree, preset, targets, jobs):
    environment = dict(os.environ, CCACHE_DISABLE="1", TZ="Asia/Kathmandu", OBORO_CACHE=cache.root())
    for command in (["cmake", "--preset", preset], ["ninja", "-C", f"build/{preset}", f"-j{jobs}", *targets]):
        done = subprocess.run(command, cwd=tree, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, errors="replace")
        if done.returncode != 0:
            raise ToolError(f"cannot build in another folder: {' '.join(done.stdout.splitlines()[-5:])}")


def sections(path):
    """[(name, file offset, size)] of what is in the file."""
    told = cache.run(["env", "LC_ALL=C", "readelf", "-SW", path])
    found = re.findall(r"^ +\[ *\d+\] (\S+) +(\S+) +[0-9a-f]+ ([0-9a-f]+) ([0-9a-f]+)", told, re.M)
    return [(name, int(offset, 16), int(size, 16)) for name, kind, offset, size in found if kind not in ("NOBITS", "NULL")]


def difference(one, other, folders):
    """Where two built files differ, in words, or "" if they do not. `folders`: where they were built."""
    contents = []
    for path in (one, other):
        with open(path, "rb") as handle:
            contents.append(handle.read())
    first, second = contents
    if first == second:
        return ""
    told = []
    theirs = {name: second[offset:offset + size] for name, offset, size in sections(other)}
    for name, offset, size in sections(one):
        if theirs.get(name) != first[offset:offset + size]:
            told.append(name)
    found = [f"sections {', '.join(told) or '(none)'} differ"]
    for folder in folders:
        for path, data in ((one, first), (other, second)):
            place = data.find(os.fsencode(folder))
            if place >= 0:
                begin = max(data.rfind(b"\0", 0, place) + 1, place - 100)
                found.append(f"{path} has the name of its folder: {data[begin:data.find(bytes(1), place)][:200].decode(errors='replace')}")
    if shutil.which("diffoscope"):
        done = subprocess.run(["diffoscope", "--max-report-size", "4000", one, other], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        found.append(done.stdout)
    return "\n  ".join(found)


def check(source, preset, names, jobs):
    """Compares the files `names` (all if empty) of the build that is there with those of another; the number of those that differ."""
    here = os.path.join(source, "build", preset)
    known = {os.path.basename(one.name).removesuffix(".so"): one for one in shipped.listed(here)}
    for name in names:
        if name not in known:
            raise ToolError(f"'{name}' is none of {', '.join(known)}")
    bad = 0
    with tempfile.TemporaryDirectory(prefix="oboro-reproducible.") as work:
        elsewhere = os.path.join(work, ELSEWHERE)
        copy(source, elsewhere)
        wanted = names or sorted(known)
        with cache.progress(f"building {', '.join(wanted)} once more"):
            build(elsewhere, preset, wanted, jobs)
        for name in wanted:
            other = os.path.join(elsewhere, "build", preset, known[name].name)
            found = difference(known[name].path, other, (source, elsewhere))
            bad += bool(found)
            print(f"{known[name].name}: " + (f"DIFFERS: {found}" if found else f"the same {os.path.getsize(other)} bytes"), flush=True)
    return bad
