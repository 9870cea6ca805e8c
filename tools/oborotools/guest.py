"""Builds guests: kernel, initial ram disk and, where programs of the distribution are wanted, a root file system.

A guest is put together from parts that are cached each by what it is made from: the ram disk's programs, the drivers of
one kernel, and a root image per (kind, packages, suite).  Drivers are in the ram disk only, so one root image serves
every kernel.  What belongs to one case is an archive of its own behind the others: a case never rebuilds an image.
"""

import dataclasses
import hashlib
import io
import lzma
import os
import re
import shutil
import subprocess
import tempfile
import uuid

from . import aptroot, cache, cpio, kernels, prefix
from .cache import ToolError

HERE = os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), "guest")
KINDS = ("minimal", "plain", "full")
MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "virtio_rng", "crc32c_generic", "crc32c_cryptoapi", "ext4", "af_packet",
           "unix", "ipv6")
# 'full' is a system as it is found in the field, with an init, a logger, sessions and a message bus.
FULL_PACKAGES = ("systemd-sysv", "dbus", "udev", "libpam-systemd", "kmod", "iproute2", "procps", "rsyslog", "openssh-server")
# Units that cost seconds under emulation and matter to no case.
MASKED = ("apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer",
          "dpkg-db-backup.timer", "man-db.timer", "logrotate.timer", "systemd-tmpfiles-clean.timer", "getty.target",
          "systemd-networkd-wait-online.service", "systemd-timesyncd.service", "ldconfig.service",
          "systemd-update-utmp.service", "systemd-journal-flush.service", "systemd-binfmt.service", "systemd-firstboot.service",
          "systemd-hwdb-update.service", "systemd-rfkill.service", "serial-getty@ttyS0.service",
          "systemd-random-seed.service", "systemd-pstore.service")


@dataclasses.dataclass
class Guest:
    """The parts that a virtual machine is started with. `disk` is a raw image that is never written to: put an overlay on it."""
    kind: str
    kernel: str
    release: str
    initrd: list
    append: str
    disk: str | None
    on_disk: bool


def _source(name):
    with open(os.path.join(HERE, name)) as handle:
        return handle.read()


def _make(destination, write):
    """Makes the file `destination` through write(handle), complete or not at all."""
    os.makedirs(os.path.dirname(destination), exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=os.path.dirname(destination), prefix=".new.", delete=False) as handle:
        try:
            write(handle)
            handle.flush()
            os.chmod(handle.name, 0o644)
            os.rename(handle.name, destination)
        except BaseException:
            os.unlink(handle.name)
            raise


def busybox_packages(apt):
    """Its package, as name=version."""
    found = apt.newest("busybox-static")
    if not found:
        raise ToolError("the archive has no busybox-static")
    return [f"busybox-static={found[0]}"]


def busybox():
    """The path of a statically linked busybox."""
    destination = cache.path("programs", "busybox-static")
    with cache.lock("program-busybox-static"):
        if not os.path.isdir(destination):
            apt = aptroot.AptRoot()
            with cache.making(destination) as directory, cache.lock("apt"):
                files = apt.download(busybox_packages(apt))
                apt.unpack(files, directory)
                apt.clean(files)
                prefix.drop_documentation(directory)
    for name in ("usr/bin/busybox", "bin/busybox"):
        if os.path.exists(os.path.join(destination, name)):
            return os.path.join(destination, name)
    raise ToolError(f"no busybox in {destination}: delete it and try again")


def _programs_archive():
    program = busybox()
    with open(program, "rb") as handle:
        binary = handle.read()
    init, stage2, target, service = (_source(n) for n in ("init", "stage2", "case.target", "case.service"))
    destination = cache.path("guests", "programs-" + cache.digest(hashlib.sha256(binary).hexdigest(), init, stage2, target, service)
                             + ".cpio")
    if os.path.exists(destination):
        return destination
    applets = cache.run([program, "--list-full"]).split()

    def write(handle):
        archive = cpio.Archive(handle)
        for name in ("proc", "sys", "dev", "run", "tmp", "root", "srv", "home", "var/lib", "var/log", "mnt", "oboro/files"):
            archive.directory(name)
        archive.device("dev/console", 5, 1)
        archive.device("dev/null", 1, 3, 0o666)
        archive.file("bin/busybox", binary, 0o755)
        for applet in applets:
            if applet.lstrip("/") not in ("bin/busybox", "linuxrc", "init", "sbin/init"):
                archive.link(applet, "/bin/busybox")
        archive.file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/tmp:/bin/sh\n"
                                   "nobody:x:65534:65534:nobody:/:/bin/false\n")
        archive.file("etc/group", "root:x:0:\ntty:x:5:\nuser:x:1000:\nnogroup:x:65534:\n")
        archive.file("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n10.0.2.2 host\n10.0.2.15 guest\n")
        archive.file("etc/resolv.conf", "nameserver 10.0.2.3\n")
        archive.file("oboro/stage2", stage2, 0o755)
        archive.file("oboro/units/oboro-case.target", target)
        archive.file("oboro/units/oboro-case.service", service)
        archive.file("init", init, 0o755)
        archive.close()

    _make(destination, write)
    return destination


def kernel_directory(key):
    """Where kernel `key` is; fetches it when missing."""
    return _fetched(cache.path("kernels", key), "version", "kernel", key)


def qemu_program(name):
    """The path of one of QEMU's programs; fetches it when missing."""
    path = os.path.join("bin", name)
    return os.path.join(_fetched(cache.path("qemu"), path, "qemu"), path)


def _fetched(directory, file, *what):
    if not os.path.exists(os.path.join(directory, file)):
        fetch = os.path.join(os.path.dirname(HERE), "fetch")
        done = subprocess.run([fetch, *what], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise ToolError(f"{' '.join(what)} could not be fetched")
    return directory


def modules_directory(guest):
    """The /lib/modules/RELEASE of a guest's kernel."""
    return os.path.join(os.path.dirname(guest.kernel), "modules", "lib", "modules", guest.release)


def _modules_archive(key, wanted):
    directory = kernel_directory(key)
    with open(os.path.join(directory, "release")) as handle:
        text = handle.read()
    release = text.split()[0]
    tree = os.path.join(directory, "modules", "lib", "modules", release)
    destination = cache.path("guests", "modules-" + cache.digest(text, *wanted) + ".cpio")
    if os.path.exists(destination):
        return destination, release

    def name(path):
        return re.sub(r"\.ko(\.\w+)?$", "", os.path.basename(path)).replace("-", "_")

    needs, where = {}, {}
    with open(os.path.join(tree, "modules.dep")) as handle:
        for line in handle:
            path, _, rest = line.partition(":")
            where[name(path)] = path
            needs[name(path)] = [name(p) for p in rest.split()]
    with open(os.path.join(tree, "modules.builtin")) as handle:
        builtin = {name(line.strip()) for line in handle}
    order = []

    def add(module):
        for needed in needs[module]:
            if needed not in order:
                add(needed)
        if module not in order:
            order.append(module)

    for module in wanted:
        module = module.replace("-", "_")
        if module in where:
            add(module)
        elif module not in builtin and module not in MODULES:
            raise ToolError(f"kernel {key} has no module {module}")

    def write(handle):
        archive = cpio.Archive(handle)
        for module in order:
            path = os.path.join(tree, where[module])
            with open(path, "rb") as source:
                data = source.read()
            if path.endswith(".xz"):
                data = lzma.decompress(data)
            elif not path.endswith(".ko"):
                raise ToolError(f"{path}: compressed in a way that is not known here")
            archive.file(f"oboro/modules/{module}.ko", data)
        archive.file("oboro/modules.load", "".join(f"{module}.ko\n" for module in order))
        archive.close()

    _make(destination, write)
    return destination, release


def _mkfs(tree, image, identity, as_root):
    """An ext4 image of the directory `tree` with room to spare; sparse, so the room costs nothing."""
    kilobytes = int(cache.run([*as_root, "du", "-sk", "--apparent-size", tree]).split()[0])
    size = kilobytes * 5 // 4 + 256 * 1024
    cache.run([*as_root, *_mke2fs(), "-U", identity, "-E", f"hash_seed={identity},lazy_itable_init=1,root_owner=0:0",
               "-O", "has_journal", "-L", "guest-root", "-d", tree, image, f"{size}k"],
              error="mke2fs", env=dict(os.environ, E2FSPROGS_FAKE_TIME="1700000000"))


def _mke2fs():
    return [shutil.which("mke2fs", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") or "mke2fs", "-q", "-t", "ext4"]


def empty_disk(image, size):
    """An ext4 image with nothing in it; size as mke2fs takes it (8G). Sparse."""
    cache.run([*_mke2fs(), image, size], error="mke2fs")


def _busybox_image():
    """The minimal guest's tree on a disk, for cases that need one."""
    archive = _programs_archive()
    destination = cache.path("guests", "disk-" + os.path.basename(archive)[len("programs-"):-len(".cpio")] + ".ext4")
    with cache.lock("guest-" + os.path.basename(destination)):
        if not os.path.exists(destination):
            program = busybox()
            with tempfile.TemporaryDirectory(dir=cache.path("guests"), prefix=".tree.") as work:
                tree = os.path.join(work, "root")
                os.makedirs(tree)
                with open(archive, "rb") as handle:
                    # Device nodes need root, and devtmpfs has them anyway.
                    done = subprocess.run([program, "cpio", "-idm", "--quiet"], cwd=tree, stdin=handle,
                                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                if not os.path.exists(os.path.join(tree, "bin", "busybox")):
                    raise ToolError(f"cannot unpack {archive} (busybox cpio ended with {done.returncode})")
                shutil.rmtree(os.path.join(tree, "oboro"))
                os.unlink(os.path.join(tree, "init"))
                image = os.path.join(work, "image")
                _mkfs(tree, image, str(uuid.uuid5(uuid.NAMESPACE_URL, destination.rsplit("/", 1)[1])),
                      [] if os.geteuid() == 0 else ["fakeroot"])
                os.rename(image, destination)
    return destination


def _customise():
    """The hooks that turn a fresh root into a guest's."""
    hooks = [
        'echo guest >"$1/etc/hostname"',
        'printf "127.0.0.1 localhost\\n::1 localhost\\n10.0.2.2 host\\n10.0.2.15 guest\\n" >"$1/etc/hosts"',
        'rm -f "$1/etc/resolv.conf"; echo "nameserver 10.0.2.3" >"$1/etc/resolv.conf"',
        'printf "/dev/vda / ext4 defaults 0 0\\n" >"$1/etc/fstab"',
        'chroot "$1" useradd -m -s /bin/bash user 2>/dev/null || true',
        # A guest may be cut off at any time. To make a new id at each boot would only cost time.
        '[ ! -e "$1/etc/machine-id" ] || echo 0b0e0c0d0a0f4e2f8a1b3c5d7e9f0a1b >"$1/etc/machine-id"',
        'rm -rf "$1"/var/cache/apt/*.bin "$1"/var/lib/apt/lists/*debian*',
        'if [ -d "$1/etc/systemd/system" ]; then for unit in ' + " ".join(MASKED) +
        '; do ln -sf /dev/null "$1/etc/systemd/system/$unit"; done; fi',
    ]
    return hooks


def _root_image(kind, packages, suite):
    wanted = sorted(set(packages) | (set(FULL_PACKAGES) if kind == "full" else set()))
    hooks = _customise()
    key = cache.digest(kind, suite, *wanted, *hooks)
    destination = cache.path("guests", f"{kind}-{suite}-{key}.ext4")
    if os.path.exists(destination):
        return destination
    if not shutil.which("mmdebstrap"):
        raise ToolError("mmdebstrap is not installed (tools/dev setup installs what is needed)")
    for package in wanted:
        if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", package):
            raise ToolError(f"'{package}' is no package name")
    with cache.lock("guest-" + os.path.basename(destination)):
        if os.path.exists(destination):
            return destination
        os.makedirs(os.path.dirname(destination), exist_ok=True)
        root = os.geteuid() == 0
        if not root and not shutil.which("fakeroot"):
            raise ToolError("fakeroot is not installed: without it only root can make root file systems")
        what = f"building a {kind} guest" + (f" with {' '.join(packages)}" if packages else "")
        with tempfile.TemporaryDirectory(dir=cache.path("guests"), prefix=".tree.") as work, cache.progress(what):
            os.chmod(work, 0o755)
            tree = os.path.join(work, "root")
            command = ["mmdebstrap", "--quiet", "--variant=minbase", "--keyring", aptroot.keyring(),
                       "--aptopt", 'Apt::Install-Recommends "false"', "--aptopt", "Acquire::Retries 3",
                       "--dpkgopt", "path-exclude=/usr/share/man/*", "--dpkgopt", "path-exclude=/usr/share/doc/*",
                       "--dpkgopt", "path-exclude=/usr/share/locale/*", "--dpkgopt", "force-unsafe-io"]
            for line in cache.run(["apt-config", "dump", "Acquire"]).splitlines():
                if re.match(r"Acquire::(https?::Proxy|Check-)", line):
                    command += ["--aptopt", line.rstrip(";")]
            if wanted:
                command.append("--include=" + ",".join(wanted))
            for hook in hooks:
                command.append("--customize-hook=" + hook)
            command += ["--mode=root" if root else "--mode=auto", suite, tree if root else tree + ".tar", aptroot.archive()]
            cache.run(command, error=what)
            as_root = []
            if not root:
                # fakeroot keeps owners and device nodes in a file of its own from here to the image.
                state = os.path.join(work, "owners")
                os.makedirs(tree)
                cache.run(["fakeroot", "-s", state, "tar", "-xf", tree + ".tar", "-C", tree], error="unpacking the root file system")
                as_root = ["fakeroot", "-i", state]
            image = os.path.join(work, "image")
            identity = str(uuid.uuid5(uuid.NAMESPACE_URL, os.path.basename(destination)))
            _mkfs(tree, image, identity, as_root)
            os.rename(image, destination)
    return destination


def build(kind, kernel, packages=(), modules=(), on_disk=False, suite="bookworm"):
    """Makes (or finds) the parts of a guest. `on_disk` gives a minimal guest a disk; the other kinds have one."""
    if kind not in KINDS:
        raise ToolError(f"'{kind}' is no kind of guest: {', '.join(KINDS)}")
    if kind == "minimal" and packages:
        raise ToolError("a minimal guest has no packages: it needs GUEST plain or full")
    directory = kernel_directory(kernel)
    drivers, release = _modules_archive(kernel, [*MODULES, *modules])
    disk = None
    if kind != "minimal":
        disk = _root_image(kind, packages, suite)
    elif on_disk:
        disk = _busybox_image()
    append = "console=ttyS0 no_timer_check quiet panic=-1 net.ifnames=0" + kernels.boot_options(directory)
    if kind == "full":
        append += " systemd.unit=oboro-case.target systemd.show_status=0 systemd.log_target=kmsg rd.udev.log_level=3"
    return Guest(kind, os.path.join(directory, "vmlinuz"), release, [_programs_archive(), drivers], append, disk, disk is not None)


def case_archive(guest, files, boots):
    """The archive of one case: `files` is [(path in the guest, bytes, mode)], `boots` [(script, end)], where end is
    poweroff, reboot or wait."""
    out = io.BytesIO()
    archive = cpio.Archive(out)
    for path, data, mode in files:
        if guest.on_disk:
            where = "oboro/files" + path
            # The modes of well-known directories hold below /oboro/files too.
            parts = path.strip("/").split("/")[:-1]
            for depth in range(1, len(parts) + 1):
                inside = "/".join(parts[:depth])
                archive.directory("oboro/files/" + inside, cpio.DIRECTORY_MODES.get(inside))
        else:
            # /tmp becomes a mount of its own before the case starts.
            where = "oboro" + path if path.startswith("/tmp/") else path
            archive.directory("oboro/tmp", 0o1777)
        archive.file(where, data, mode)
    for number, (script, end) in enumerate(boots, 1):
        archive.file(f"oboro/run.{number}", script)
        archive.file(f"oboro/end.{number}", end + "\n")
    archive.file("oboro/kind", ("full" if guest.kind == "full" else "disk" if guest.on_disk else "memory") + "\n")
    archive.close()
    return out.getvalue()


def write_initrd(guest, case, destination):
    with open(destination, "wb") as out:
        for part in guest.initrd:
            with open(part, "rb") as handle:
                shutil.copyfileobj(handle, out)
        out.write(case)


def overlay(disk, destination):
    """A throw-away disk on top of `disk`."""
    cache.run([qemu_program("qemu-img"), "create", "-q", "-f", "qcow2", "-b", os.path.abspath(disk), "-F", "raw", destination])


def overlay_option(disk, destination):
    """The overlay as `oboro run --disk` takes it."""
    return ",".join(name.replace(",", ",,") for name in (destination, "backing=" + os.path.abspath(disk), "backing-format=raw"))
