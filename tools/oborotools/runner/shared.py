"""Several cases, one after the other, in one boot of a guest: those that say SHARE.

The guest waits behind each case until the host has looked, so all that came between its beginning and its end is its own. Then it
removes what the case left, and the next one begins only if nothing is managed any more. What fails ends the boot, and what is left of
the cases begins in another."""

import os
import re
import shutil
import subprocess
import time

from .. import case as cases
from ..cache import ToolError, say
from ..processes import end_group
from . import console, expectations, preparation
from .namespaces import Namespaces
from .results import CaseFailed, NeverBegan, Result
from .run import STOP

MOST = 12  # in a boot: after a late failure, much would have to begin again
ROOM = "/oboro/share"
# Removes the remains of a case from a guest that is in memory: processes, mounts, files. (Not the objects of System V's IPC.)
DRIVER = r"""
everything() { find / -xdev -path /oboro -prune -o -print | sort; }
mounts() { cut -d' ' -f2 /proc/mounts | sort; }
everything >/run/oboro/files
mounts >/run/oboro/mounts
for number in $(seq 1 COUNT); do
    cd ROOM/$number
    find . -type d ! -name . | while read -r name; do [ -d "/$name" ] || mkdir "/$name"; done
    # Renamed, not copied: nobody has opened what the case opens.
    mv .run /run/oboro/case
    find . ! -type d | while read -r name; do mv "$name" "/$name"; done
    cd /root
    echo
    echo "@oboro case $number"
    /bin/sh /run/oboro/case </dev/null
    status=$?
    sync
    echo
    echo "@oboro over $number status=$status"
    read -r word </dev/console
    cd /
    kill -9 -1
    mounts | grep -vxFf /run/oboro/mounts | sort -r | while read -r name; do umount -l "$name"; done
    rm -rf /tmp/* /tmp/.[!.]* /dev/shm/* /dev/mqueue/*
    everything | grep -vxFf /run/oboro/files | while read -r name; do rm -rf "$name"; done
    sync
    echo
    echo "@oboro clean $number"
    read -r word </dev/console
done
"""


def may_share(one, other):
    """Whether two runs can be in the same guest."""
    return all(run.case.share for run in (one, other)) and all(
        getattr(one.case, name) == getattr(other.case, name) for name in ("guest", "memory", "modules", "classify")) and (
        one.kernel, one.cpus) == (other.kernel, other.cpus)


def groups(runs, jobs):
    """The runs, those together that are run in one guest. All jobs are to have something to do."""
    found = []
    for run in runs:
        for group in found:
            if may_share(group[0], run):
                group.append(run)
                break
        else:
            found.append([run])
    parts = []
    for group in found:
        number = min(len(group), max(jobs, -(-len(group) // MOST)))
        parts += [group[first::number] for first in range(number)]
    return parts


def together(runs, jobs):
    """Run or SharedRun, of all of these."""
    return [SharedRun(group) if len(group) > 1 else group[0] for group in groups(runs, jobs)]


def members(unit):
    return unit.runs if isinstance(unit, SharedRun) else [unit]


def driver(count):
    return DRIVER.replace("COUNT", str(count)).replace("ROOM", ROOM)


class SharedRun:
    """Runs in one guest, which has the directory and the state of the first of them."""

    def __init__(self, runs):
        self.runs = runs
        self.host = runs[0]
        self.options = self.host.options
        self.process = None
        self.after = 0  # the events up to this number came before the case that runs
        self.begun = time.monotonic()

    @property
    def label(self):
        return f"{self.host.label} and {len(self.runs) - 1} more in its guest"

    def results(self):
        """One after the other, as they come."""
        left, good = list(self.runs), True
        try:
            self.prepare()
            self.start()
            while left:
                result = self.one(left[0], len(self.runs) - len(left) + 1)
                left.pop(0)
                good = good and result.outcome == "passed"
                yield result
                if not good or left and not self.clean(len(self.runs) - len(left)):
                    break
        except NeverBegan as error:
            self.end()
            if not self.host.may_boot_again(error):
                yield self.failed(left.pop(0), error)
            yield from (run.go() for run in left)
            return  # (A nested host's runs never come here: theirs is not TCG.)
        except (CaseFailed, ToolError) as error:
            good = False
            yield self.failed(left.pop(0), error)
        except subprocess.TimeoutExpired as error:
            good = False
            yield self.failed(left.pop(0), f"{error.cmd[:3]} took longer than {error.timeout} s")
        finally:
            self.end()
        if self.host.prepared:
            self.host.take_state(keep=not good)
        if good and not self.options.keep:
            shutil.rmtree(self.host.directory, ignore_errors=True)
        # In a nested host nothing can be prepared: it is booted again for the cases that are left.
        if left and not self.host.prepared and not STOP.is_set():
            yield from (SharedRun(left) if len(left) > 1 else left[0]).results()

    def failed(self, run, *failures):
        """Its directory gets the logs of the guest that it shared."""
        if run is not self.host:
            for name in ("console.log", "oboro.log", "command", "stuck.log"):
                if os.path.exists(self.host.path(name)) and not os.path.lexists(run.path(name)):
                    os.symlink(self.host.path(name), run.path(name))
        failures = [*map(str, failures), f"note: it shared the guest of {self.host.case.identity} (--alone: a guest for each)"]
        return Result(run.case.name, run.case.file, run.kernel, "failed", "", time.monotonic() - self.begun, failures, logs=run.directory)

    def prepare(self):
        host, files = self.host, []
        setting = preparation.Setting(host.directory, host.state, host.monitor, host.port, host.kernel, host.cpus)
        if host.prepared:
            self.command = preparation.prepared(self.options, setting)
            return
        for number, run in enumerate(self.runs, 1):
            for name, source in run.case.files:
                path, data, mode = preparation.file_of(run.case, name, source, run.directory)
                files.append((f"{ROOM}/{number}{path}", data, mode))
            files.append((f"{ROOM}/{number}/.run", preparation.boots(run.case, run.port)[0][0].encode(), 0o644))
        together = cases.Case(host.case.file, guest=host.case.guest, memory=host.case.memory, modules=host.case.modules,
                              classify=host.case.classify, boots=[[driver(len(self.runs))]])
        self.command = preparation.prepare(self.options, together, setting, files)

    def start(self):
        host = self.host
        if not self.options.shared_network:
            host.namespaces = Namespaces(host.directory)
        self.begun = time.monotonic()
        with open(host.console, "ab") as output, open(host.errors, "ab") as errors:
            self.process = subprocess.Popen(host.apart(self.command), stdin=subprocess.PIPE, stdout=output, stderr=errors,
                                            cwd=host.directory, env=host.environment, start_new_session=True)
        host.process = self.process

    def one(self, run, number):
        """The result of one case, which the guest has begun by itself."""
        self.deadline = time.monotonic() + run.timeout
        match = self.wait_for(rf"^@oboro case {number}\n(.*?)^@oboro over {number} status=(\d+)$", run)
        oboro = expectations.Oboro(self.options.oboro, self.host.state, run.directory, self.after)
        oboro.wait_for_journal(run.timeout)
        if failures := expectations.evaluate(run.case, oboro, match[1]):
            return self.failed(run, *failures, *([f"note: the guest's script ended with status {match[2]}"] if match[2] != "0" else []))
        result = Result(run.case.name, run.case.file, run.kernel, seconds=time.monotonic() - self.begun, logs=run.directory)
        self.begun = time.monotonic()
        if not self.options.keep:
            result.logs = ""
            if run is not self.host:
                shutil.rmtree(run.directory, ignore_errors=True)
        return result

    def clean(self, number):
        """Has the guest remove the remains of a case. Whether nothing is managed after that, so that another may begin."""
        self.deadline = time.monotonic() + self.runs[number].timeout
        self.go_on()
        self.wait_for(rf"^@oboro clean {number}$", self.runs[number])
        oboro = expectations.Oboro(self.options.oboro, self.host.state, self.host.directory)
        oboro.wait_for_journal(self.runs[number].timeout)
        self.after = max((event.get("seq", 0) for event in oboro.records("events.before", "events", "--json")), default=0)
        if still := oboro.records("list.before", "list", "all", "--json"):
            say(f"      {self.runs[number - 1].case.identity} leaves something managed ({cases.brief(still[0])}): it should not SHARE")
            return False
        self.go_on()
        return True

    def go_on(self):
        try:
            self.process.stdin.write(b"go\n")
            self.process.stdin.flush()
        except OSError:
            pass  # it has ended: wait_for says so

    def wait_for(self, pattern, run):
        host = self.host
        while True:
            over = self.process.poll() is not None
            text = console.text_of(host.console)
            if found := re.search(pattern, text, re.M | re.S):
                return found
            if STOP.is_set():
                raise CaseFailed("interrupted")
            if panic := console.PANIC.search(text):
                raise CaseFailed(f"the guest's kernel panicked: {panic[0].strip()}")
            if over:
                raise CaseFailed(f"oboro run ended (status {self.process.returncode}) before the case's script did{host.last_words()}")
            if time.monotonic() > self.deadline:
                host.not_over(f"{run.timeout:g} s (TIMEOUT)")
            time.sleep(0.05)

    def end(self):
        if self.process:
            end_group(self.process)
            self.process.stdin.close()
        if self.host.namespaces:
            self.host.namespaces.end()
            self.host.namespaces = None
