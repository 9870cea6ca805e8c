"""A host with a real KVM, on any machine: stock Debian in an emulated computer whose CPU has AMD's virtualization, with
stock kvm-amd and stock QEMU. What runs in it sees this project's tree and the cache at their own paths, read-only, and one
directory to write to. /tmp is in memory; /var/tmp is a disk, with extended attributes, and ends with the host."""

import os
import shlex
import shutil
import subprocess
import tempfile
import time

from . import cache, guest
from .cache import ToolError

KERNEL = "6.1-full"
PACKAGES = ("qemu-system-x86", "qemu-utils", "python3", "iproute2", "procps", "strace", "kmod", "openssh-client", "openssh-server",
            "netcat-openbsd", "curl", "rsync", "libarchive13",  # what oboro itself needs, which brings nettle and zstd
            "libsqlite3-0")
MODULES = ("veth", "kvm_amd", "9p", "9pnet_virtio", "loop", "tun")
# One CPU: with two, QEMU's emulation loses track of its own guest now and then, and that host's kernel panics ("stack guard
# page was hit", "corrupted stack end"), with or without Oboro. Two hosts side by side do not have that problem.
CPU = "max,la57=off"
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))

SCRIPT = """\
mount_share() { mkdir -p "$2"; mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288,$3 "$1" "$2" || echo "@nested no $1"; }
mount -t tmpfs -o mode=1777 tmp /tmp
mount -t ext4 /dev/vdb /var/tmp && chmod 1777 /var/tmp || echo "@nested no disk"
{more}
mount_share top {top} ro,cache=loose
mount_share cache {cache} ro,cache=loose
mount_share share {share} rw,cache=mmap
export HOME=/root OBORO_CACHE=/var/tmp/oboro-cache LANG=C.UTF-8
mkdir -p $OBORO_CACHE
for entry in {cache}/*; do
    case $entry in */profiles | */lock) ;; *) ln -s "$entry" $OBORO_CACHE/ ;; esac
done
cd {share}
{command} </dev/null
echo $? >{status}
sync
"""


def host(packages=()):
    """The host's parts; builds them when missing. `packages`: more than it needs by itself."""
    return guest.build("plain", KERNEL, (*PACKAGES, *packages), MODULES)


def run(command, share, timeout, memory="8G", cpus=1, output=None, packages=(), read=()):
    """Runs a shell command in such a host; `share` is the directory that it may write to, `read` are further ones that it may read, at
    the same paths there. Its exit status. `output`: a file for the console; else it goes to standard output as it comes."""
    emulator = guest.qemu_program("qemu-system-x86_64")
    parts = host(packages)
    work = tempfile.mkdtemp(prefix="oboro-nested.")
    status = os.path.join(share, "." + os.path.basename(work))
    script = SCRIPT
    for name, value in (("top", TOP), ("cache", cache.root()), ("share", share), ("status", status)):
        script = script.replace("{%s}" % name, shlex.quote(value))
    script = script.replace("{more}", "\n".join(f"mount_share read{number} {shlex.quote(path)} ro,cache=loose"
                                                for number, path in enumerate(read)))
    script = script.replace("{command}", command)
    try:
        initrd, disk, scratch = (os.path.join(work, name) for name in ("initrd", "disk.qcow2", "scratch.ext4"))
        guest.write_initrd(parts, guest.case_archive(parts, [], [(script, "poweroff")]), initrd)
        guest.overlay(parts.disk, disk)
        guest.empty_disk(scratch, "16G")

        def shared(tag, path, more=""):
            path = path.replace(",", ",,")
            return ["-virtfs", f"local,path={path},mount_tag={tag},security_model=none,multidevs=remap,id={tag}{more}"]

        process = ["setpriv", "--pdeathsig", "KILL", "--", emulator, "-accel", "tcg,thread=multi,tb-size=1024", "-cpu", CPU,
                   "-smp", str(cpus), "-m", memory, "-nographic", "-nodefaults", "-serial", "stdio", "-kernel", parts.kernel,
                   "-initrd", initrd, "-append", parts.append + " loglevel=3", "-drive",
                   f"file={disk},if=virtio,format=qcow2,cache=unsafe", "-drive",
                   f"file={scratch},if=virtio,format=raw,cache=unsafe", *shared("top", TOP, ",readonly=on"),
                   *shared("cache", cache.root(), ",readonly=on"), *shared("share", share)]
        for number, path in enumerate(read):
            process += shared(f"read{number}", path, ",readonly=on")
        begin = time.monotonic()
        stream = open(output, "wb") if output else None
        try:
            subprocess.run(process, stdin=subprocess.DEVNULL, stdout=stream, timeout=timeout, check=False)
        except subprocess.TimeoutExpired:
            raise ToolError(f"the nested host was not done after {time.monotonic() - begin:.0f} s")
        finally:
            if stream:
                stream.close()
        try:
            with open(status) as handle:
                return int(handle.read())
        except (OSError, ValueError):
            raise ToolError("the nested host ended before its command did" + (f": {output}" if output else ""))
    finally:
        shutil.rmtree(work, ignore_errors=True)
        if os.path.exists(status):
            os.unlink(status)
