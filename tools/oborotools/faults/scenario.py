"""A guest in a directory of its own, that is started again and again."""

import dataclasses
import json
import os
import re
import shlex
import signal
import subprocess

from ..cache import ToolError
from . import told
from .injector import Seen, lose_power

CONFIG = """\
[[classify]]
pattern = "/srv/secret/**"
label = "plan"
[[classify]]
pattern = "/srv/secret/*1"
label = "keys"
[journal]
segment = "1M"
"""
KEEP_LITTLE = 'max_size = "1M"\n'
RUN = """\
[run]
qemu = "{}"
state = "{}"
"""
HIDDEN = """\
[hide.audit]
exe = "/sbin/auditd"
files = ["/var/log/audit/**"]
"""
INCOMPLETE = re.compile(r"oboro: incomplete: \d+ records were lost\n")
PATIENCE = 120  # seconds; only for what hangs


@dataclasses.dataclass
class Ended:
    status: int  # negative: of a signal; None: it hung
    said: str
    fired: bool = False
    power: bool = False
    began: int = 0  # runs of the guest so far

    def __str__(self):
        return "it hung" if self.status is None else f"signal {-self.status}" if self.status < 0 else f"exit status {self.status}"


class Scenario:
    def __init__(self, build, directory, proxies, keep_little=False):
        self.directory, self.state = directory, os.path.join(directory, "state", "guest")
        self.oboro, self.oboro_qemu = (os.path.join(build, "bin", name) for name in ("oboro", "oboro-qemu"))
        self.tests = os.path.join(build, "tests")
        for path in (self.oboro, self.oboro_qemu, self._injector(), self._guest()):
            if not os.access(path, os.R_OK):
                raise ToolError(f"{path} is missing: ninja -C {build} faults")
        os.mkdir(os.path.join(directory, "guest"))
        with open(os.path.join(directory, "config"), "w") as file:
            file.write(CONFIG + (KEEP_LITTLE if keep_little else "") + RUN.format(self._guest(), os.path.dirname(self.state)) + (HIDDEN if proxies else ""))
        with open(os.path.join(directory, "guest", "second"), "w") as file:
            file.write(self._second())

    def _injector(self):
        return os.path.join(self.tests, "faults-injector.so")

    def _guest(self):
        return os.path.join(self.tests, "faults_guest")

    def _command(self):
        # Without QEMU's sandbox no walls are raised around the made-up guest, which has to get at its supervisor.
        return [self.oboro, "run", "--engine", "tcg", "--qemu", self._guest(), "--kernel", "/dev/null", "--memory", "64M", "--state", self.state,
                "--config", os.path.join(self.directory, "config"), "--", "-sandbox", "off"]

    def _command_of_qemu(self):
        return [self.oboro_qemu, "-name", "guest", "-accel", "kvm"]

    def _environment(self, directory, last, event="0 before none", **more):
        return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C.UTF-8", "HOME": self.directory,
                "OBORO_CONFIG": os.path.join(self.directory, "config"),
                "OBORO_CACHE": os.path.join(self.directory, "cache"), "FAULTS_GUEST": f"{directory} {last} {event}", **more}

    # The same VM once more, while it runs. If that begins, its guest says so in a directory of its own.
    def _second(self):
        other = os.path.join(self.directory, "other")
        words = [f"{name}={value}" for name, value in self._environment(other, 10).items()]
        command = shlex.join(["env", "-i", *words, *self._command()])
        return f"mkdir -p {shlex.quote(other)}\n{command} </dev/null >{shlex.quote(other)}/said 2>&1\necho $? >{shlex.quote(other)}/status\n"

    def start(self, start):
        """Starts it as a points.Start says, until its end."""
        seen = os.path.join(self.directory, "seen")
        fired = os.path.join(self.directory, "guest", "fired")
        for old in (seen, fired):
            if os.path.exists(old):
                os.unlink(old)
        variables = {"FAULTS_SEEN": seen, "LD_PRELOAD": self._injector()}
        if start.call:
            variables["FAULTS_CALL"] = f"{start.call} {start.number} {start.count} {start.action}"
        event = f"{start.event} {start.when} {start.what}"
        command = self._command()
        if start.detached:  # it becomes QEMU, and its grandchild is the supervisor
            command, variables["FAULTS_FORKS"] = self._command_of_qemu(), "2"
        words = os.path.join(self.directory, "said")
        # A file, not a pipe: nobody waits for those who may still have that open, but a user would not either.
        with open(words, "wb") as file:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
                                       env=self._environment(os.path.join(self.directory, "guest"), start.last, event, **variables),
                                       start_new_session=True)
        try:
            status = process.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            status = None
        with open(words, errors="replace") as file:
            said = file.read()
        counted = Seen.read(seen)
        if start.power and counted.fired:
            lose_power(self.state, counted)
        return Ended(status, said, bool(counted.fired) or os.path.exists(fired), start.power and bool(counted.fired),
                     len(self.runs()))

    def runs(self):
        path = os.path.join(self.directory, "guest", "told")
        if not os.path.exists(path):
            return []
        with open(path) as file:
            return told.parse(file.read())

    def second(self):
        """The exit status of the second run, and what it said; None if there was none."""
        other = os.path.join(self.directory, "other")
        if not os.path.exists(os.path.join(other, "status")):
            return None
        with open(os.path.join(other, "status")) as status, open(os.path.join(other, "said"), errors="replace") as said:
            return int(status.read()), said.read(), os.path.exists(os.path.join(other, "told"))

    def ask(self, *words):
        """What a verb answers."""
        done = subprocess.run([self.oboro, *words, "--state", self.state], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=PATIENCE)
        return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")

    def entries(self, *words, gaps=False):
        """What it answers as JSON, and what is wrong with that. gaps: records may be missing, and it says so."""
        status, text, said = self.ask(*words, "--json")
        wrong = []
        if status != 0 or (said and not (gaps and INCOMPLETE.fullmatch(said))):
            wrong.append(f"oboro {' '.join(words)}: exit status {status}: {said.strip()[-400:]}")
        return [json.loads(line) for line in text.splitlines()], wrong
