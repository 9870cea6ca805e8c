"""Prepares the parts that a case's guest is booted from, and the command."""

import os
import shlex
import string
from dataclasses import dataclass

from .. import cache, guest, programs


@dataclass
class Setting:
    """One run of a case: the place of its files, and all else of it that the command names."""
    directory: str
    state: str
    monitor: str
    port: int
    kernel: str
    cpus: int


def file_of(case, path, source, directory):
    """(path, bytes, mode) of one FILE."""
    if source == "@ssh-key":
        key = os.path.join(directory, "ssh-key")
        if not os.path.exists(key):
            cache.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "guest", "-f", key])
        with open(key, "rb") as handle:
            return path, handle.read(), 0o600
    if source is None:
        return path, f"{case.identity}: the text of {path}\n".encode(), 0o644
    compiled = source.endswith(".c") or os.path.isdir(source)
    with open(programs.compile_static(source) if compiled else source, "rb") as handle:
        return path, handle.read(), 0o755 if compiled or os.access(source, os.X_OK) else 0o644


def boots(case, port):
    """[(script, the end of the boot)] of a case's boots."""
    found = []
    for number, lines in enumerate(case.boots):
        end = "poweroff" if number == len(case.boots) - 1 else "wait" if case.ends[number].startswith("kill") else "reboot"
        found.append((f"export CASE_PORT={port}\n" + "\n".join(lines) + "\n", end))
    return found


def command(options, case, built, setting):
    """The words that start the guest `built`, whose initial ram disk (and disk, if it has one) are in the directory."""
    path = lambda name: os.path.join(setting.directory, name)  # noqa: E731
    append = built.append
    if options.nested:
        # In a guest that is emulated twice, a kernel that patches itself takes so long that it complains of a lockup (of 20 s).
        append += " watchdog_thresh=60"
    words = [options.oboro, "run", "--kernel", built.kernel, "--initrd", path("initrd"), "--append", append]
    if built.disk:
        words += ["--disk", guest.overlay_option(built.disk, path("disk.qcow2"))]
    words += ["--cpus", str(setting.cpus), "--memory", case.memory]
    for option in ("engine", "hooks", "qemu"):
        if getattr(options, option):
            words += ["--" + option, getattr(options, option)]
    for pattern in case.classify:
        words += ["--classify", pattern]
    if case.config:
        words += ["--config", case.config]
    words += ["--state", setting.state, "--vm", case.identity]
    substitutes = {"CASE_DIR": os.path.dirname(case.file), "CASE_TMP": setting.directory, "CASE_PORT": str(setting.port)}
    arguments = [string.Template(argument).safe_substitute(substitutes) for argument in case.args]
    for_qemu = arguments.index("--") if "--" in arguments else len(arguments)
    if options.proxy == "vm" and "--proxy" not in arguments[:for_qemu]:
        words += ["--proxy", "vm"]
    words += arguments[:for_qemu]
    if "vm" in words and "--proxy-kernel" not in words:
        words += ["--proxy-kernel", built.kernel, "--proxy-modules", guest.modules_directory(built)]
    # No boot ROM: it costs half a second and nothing boots from the network.
    return [*words, "--", "-netdev", "user,id=net0", "-device", "virtio-net-pci,netdev=net0,romfile=",
            "-monitor", f"unix:{setting.monitor},server=on,wait=off", *arguments[for_qemu + 1:]]


def prepare(options, case, setting, files=None):
    """Makes the guest, its files (the case's own, or these) and its disk; the command that starts it, which is also left in the file
    `command`."""
    built = guest.build(case.guest, setting.kernel, case.packages, case.modules, case.disk)
    if files is None:
        files = [file_of(case, path, source, setting.directory) for path, source in case.files]
    guest.write_initrd(built, guest.case_archive(built, files, boots(case, setting.port)), os.path.join(setting.directory, "initrd"))
    if built.disk:
        guest.overlay(built.disk, os.path.join(setting.directory, "disk.qcow2"))
    words = command(options, case, built, setting)
    with open(os.path.join(setting.directory, "command"), "w") as handle:
        handle.write(shlex.join(words) + "\n")
    return words


def prepared(options, setting):
    """The command that prepare() left for somebody else, whose state, monitor and program are in other places."""
    with open(os.path.join(setting.directory, "command")) as handle:
        words = shlex.split(handle.read())
    state, monitor = (os.path.join(setting.directory, name) for name in ("state", "monitor"))
    return [options.oboro, *(word.replace(state, setting.state).replace(monitor, setting.monitor) for word in words[1:])]
