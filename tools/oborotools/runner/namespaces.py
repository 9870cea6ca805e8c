"""Keeps cases apart that run at the same time."""

import os
import re
import subprocess
import threading

from ..processes import bound, end_group
from .results import CaseFailed


class Ports:
    """Of the cases that share the host's network, two that name the same number in their HOST lines are not run at once: it may be a port."""

    def __init__(self):
        self.busy = set()
        self.changed = threading.Condition()

    def take(self, numbers):
        with self.changed:
            self.changed.wait_for(lambda: not self.busy & numbers)
            self.busy |= numbers

    def give(self, numbers):
        with self.changed:
            self.busy -= numbers
            self.changed.notify_all()

    @staticmethod
    def named_by(lines):
        return {int(number) for line in lines for number in re.findall(r"\b\d{2,5}\b", line)}


class Namespaces:
    """A network of a case's own, and a place for names of further ones: nothing that it makes there meets another case's, or outlives it,
    however it ends. Root only."""

    SCRIPT = "mkdir -p /run/netns && mount -t tmpfs -o mode=0755 none /run/netns && ip link set lo up && echo ready && exec sleep infinity"

    def __init__(self, directory):
        with open(os.path.join(directory, "namespaces.log"), "wb") as log:
            self.holder = subprocess.Popen(bound(["unshare", "--net", "--mount", "--", "sh", "-c", self.SCRIPT]), stdin=subprocess.DEVNULL,
                                           stdout=subprocess.PIPE, stderr=log, cwd=directory, start_new_session=True)
        if self.holder.stdout.readline() != b"ready\n":
            self.end()
            with open(log.name, errors="replace") as handle:
                raise CaseFailed(f"no network namespace for the case: {handle.read().strip()}")
        os.unlink(log.name)

    def command(self, command):
        """`command` in there; its directory is that of the case."""
        return ["nsenter", "--target", str(self.holder.pid), "--net", "--mount", "--wd", "--", *command]

    def end(self):
        end_group(self.holder)
        self.holder.stdout.close()

    @staticmethod
    def possible():
        """None, or why cases share the host's network."""
        if os.geteuid() != 0:
            return "not root"
        done = subprocess.run(["unshare", "--net", "--mount", "--", "true"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True)
        return done.stderr.strip() or f"status {done.returncode}" if done.returncode else None
