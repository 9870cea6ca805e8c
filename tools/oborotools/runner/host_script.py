"""The HOST lines of a case: a script on the host while the guest runs."""

import os
import re
import subprocess
import threading

from .. import aptroot, cache, prefix
from ..cache import ToolError
from .options import HERE

_ssh_lock = threading.Lock()


def start(lines, directory, environment, apart):
    """The process of the script, or None where there are no lines. `apart` puts a command to where all of the case is run."""
    if not lines:
        return None
    script = os.path.join(directory, "host.sh")
    with open(script, "w") as handle:
        handle.write("\n".join(lines) + "\n")
    environment = dict(environment, PATH=os.path.join(HERE, "support") + ":" + os.environ.get("PATH", ""))
    if any(re.match(r"sshd\b", line) for line in lines) and not os.path.exists("/usr/sbin/sshd"):
        environment["CASE_SSH_SERVER"] = ssh_server()
    with open(os.path.join(directory, "host.log"), "wb") as log:
        return subprocess.Popen(apart(["bash", script]), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd=directory,
                                start_new_session=True)


def note(status, log):
    """A note about a script that ended by itself, and badly, before a case that failed. None if it did not."""
    if status in (None, 0):
        return None
    with open(log, errors="replace") as handle:
        last = ([line.strip() for line in handle if line.strip()] or ["(it printed nothing)"])[-1]
    return f"note: the HOST script had ended by itself with status {status}: {last[:200]}"


def ssh_packages(apt, suite):
    """What ssh_server() needs, as name=version."""
    specs = []
    # The libraries are those that a machine without a server may lack; which, depends on the release.
    for package in ("openssh-server", "openssh-sftp-server", "libwrap0", "libwtmpdb0"):
        found = apt.newest(package, (suite,))
        if found:
            specs.append(f"{package}={found[0]}")
        elif package.startswith("openssh"):
            raise ToolError(f"the archive has no {package}")
    return specs


def ssh_server():
    """An OpenSSH server for a machine that has none installed: unpacked, not installed, so that no service is started."""
    destination = cache.path("programs", "openssh-server-and-libraries")
    with _ssh_lock, cache.lock("program-openssh-server"):
        if not os.path.isdir(destination):
            suite = "bookworm"
            with open("/etc/os-release") as handle:
                if "VERSION_CODENAME=trixie" in handle.read():
                    suite = "trixie"
            apt = aptroot.AptRoot()
            with cache.making(destination) as directory, cache.lock("apt"):
                files = apt.download(ssh_packages(apt, suite))
                apt.unpack(files, directory)
                apt.clean(files)
                prefix.drop_documentation(directory)
    return destination
