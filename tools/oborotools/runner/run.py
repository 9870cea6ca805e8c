"""One case on one kernel."""

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time

from ..cache import ToolError
from ..processes import bound, emulator_of, end_group
from . import console, expectations, host_script, preparation, stuck
from .namespaces import Namespaces, Ports
from .results import CaseFailed, NeverBegan, Result

PORTS = Ports()
# How many guests may be booted again, in all. If more of them do not boot, that is no accident.
AGAIN = threading.Semaphore(2)
STOP = threading.Event()


class Run:
    """`directory`: the place where the case has been prepared already (a nested host's cases)."""

    def __init__(self, options, case, kernel, port, directory=None):
        self.options = options
        self.case = case
        self.kernel = kernel
        self.port = port
        self.prepared = directory is not None
        self.directory = directory or tempfile.mkdtemp(prefix=f"oboro-{case.identity}-", dir=options.work)
        # Not on the file system that a nested host shares with us: mapped files lose their size there. Nor in memory, where hidden files
        # would have no owners (these are extended attributes).
        self.state = os.path.join(tempfile.mkdtemp(prefix="oboro-state-", dir="/var/tmp") if self.prepared else self.directory, "state")
        self.monitor = os.path.join(os.path.dirname(self.state), "monitor")
        self.console = os.path.join(self.directory, "console.log")
        self.errors = os.path.join(self.directory, "oboro.log")
        self.environment = dict(os.environ, CASE_DIR=os.path.dirname(case.file), CASE_TMP=self.directory, CASE_PORT=str(port),
                                CASE_STATE=self.state, OBORO=options.oboro)
        self.statuses = []
        self.cpus = case.cpus or options.cpus
        self.timeout = case.timeout * options.timeout_factor
        self.booted_again = ""
        self.namespaces = None

    def path(self, name):
        return os.path.join(self.directory, name)

    def prepare(self):
        """Makes the guest, its files and its disk. Returns the command to start."""
        setting = preparation.Setting(self.directory, self.state, self.monitor, self.port, self.kernel, self.cpus)
        self.command = preparation.prepared(self.options, setting) if self.prepared else preparation.prepare(self.options, self.case, setting)

    def apart(self, command):
        """`command`, put where everything that belongs to the case runs."""
        return bound(self.namespaces.command(command) if self.namespaces else command)

    def boot(self):
        """Runs the guest, all boots of it."""
        try:
            self.all_boots()
        except NeverBegan as error:
            if not self.may_boot_again(error):
                raise
            self.all_boots()

    def may_boot_again(self, error):
        """Puts the files of the first boot away, if there may be a second one."""
        if self.cpus == 1 or self.options.engine != "tcg" or not AGAIN.acquire(blocking=False):
            return False
        self.booted_again = str(error)
        os.rename(self.console, self.path("console.first.log"))
        shutil.rmtree(self.state)
        return True

    def all_boots(self):
        deadline = time.monotonic() + self.timeout
        kills = [(number, *(end.split()[1:] or ("qemu", None))) for number, end in enumerate(self.case.ends, 1) if end.startswith("kill")]
        cut_short = sum(events is not None for _, _, events in kills)
        while self.session(deadline, kills[0] if kills else None):
            kills.pop(0)
        self.statuses, problem = console.came_to(console.text_of(self.console), len(self.case.boots), self.process.returncode,
                                                 self.last_words(), cut_short)
        if problem:
            self.statuses = []
            raise CaseFailed(problem)

    def session(self, deadline, kill):
        """One run of oboro; with `kill`, until the script of that boot has ended, or so many events are in the journal, when somebody is killed:
        then it is true."""
        boot, who, events = kill or (None, None, None)
        before = self.events()
        with open(self.console, "ab") as output, open(self.errors, "ab") as errors:
            begin = output.tell()
            self.process = subprocess.Popen(self.apart(self.command), stdin=subprocess.DEVNULL, stdout=output, stderr=errors,
                                            cwd=self.directory, env=self.environment, start_new_session=True)
        try:
            while True:
                try:
                    self.process.wait(0.05)
                    return False
                except subprocess.TimeoutExpired:
                    pass
                if STOP.is_set():
                    raise CaseFailed("interrupted")
                text = console.text_of(self.console, begin)
                over = any(int(number) == boot for number, _ in console.END.findall(text))
                if over or (events and self.events() - before >= int(events)):
                    (self.kill_supervisor if who == "run" else self.kill_emulator)()
                    return True
                if "Kernel panic - not syncing" in text:
                    time.sleep(0.3)
                    raise CaseFailed("the guest's kernel panicked: " + console.PANIC.search(console.text_of(self.console, begin))[0].strip())
                if time.monotonic() > deadline:
                    done = len(console.END.findall(console.text_of(self.console)))
                    self.not_over(f"{self.timeout:g} s (TIMEOUT); {done} of {len(self.case.boots)} scripts had ended")
        finally:
            end_group(self.process)

    def events(self):
        """How many the journal has (in its newest segment)."""
        try:
            with open(os.path.join(self.state, "events.jsonl"), "rb") as file:
                return file.read().count(b"\n")
        except FileNotFoundError:
            return 0

    def kill_supervisor(self):
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def kill_emulator(self):
        emulator = emulator_of(self.process.pid)
        if emulator is None:
            raise CaseFailed("QEMU was not found below oboro run, so it could not be killed for REBOOT kill")
        os.kill(emulator, signal.SIGKILL)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            raise CaseFailed("oboro run did not end within 15 s after QEMU was killed")

    def not_over(self, when):
        """Ends a run that is not over in time, and says what it was doing."""
        seen = stuck.look(emulator_of(self.process.pid), self.monitor, self.path("stuck.log"))
        problem = f"not over after {when}{self.last_words()}{seen}"
        end_group(self.process)
        never = self.process.returncode == 0 and not console.BEGIN.search(console.text_of(self.console))
        raise (NeverBegan if never and not stuck.was_armed(self.state) else CaseFailed)(problem)

    def last_words(self):
        return console.last_words(self.errors, self.console)

    def evaluate(self):
        oboro = expectations.Oboro(self.options.oboro, self.state, self.directory)
        return expectations.evaluate(self.case, oboro, console.output(console.text_of(self.console)))

    @property
    def label(self):
        return f"{self.case.identity} on {self.kernel}"

    def results(self):
        yield self.go()

    def go(self):
        numbers = Ports.named_by(self.case.host)
        result = Result(self.case.name, self.case.file, self.kernel, logs=self.directory)
        begin = time.monotonic()
        host = host_status = None
        shared = self.options.shared_network or self.case.network == "host"
        if shared:
            PORTS.take(numbers)
        try:
            self.prepare()
            begin = time.monotonic()
            if not shared:
                self.namespaces = Namespaces(self.directory)
            host = host_script.start(self.case.host, self.directory, self.environment, self.apart)
            self.boot()
            result.failures = self.evaluate()
        except (CaseFailed, ToolError) as error:
            result.failures = [str(error)]
        except subprocess.TimeoutExpired as error:
            result.failures = [f"{shlex.join(map(str, error.cmd[:3]))} took longer than {error.timeout} s"]
        finally:
            if host:
                host_status = host.poll()
                end_group(host, 1.0)
            if self.namespaces:
                self.namespaces.end()
            if shared:
                PORTS.give(numbers)
        result.seconds = time.monotonic() - begin
        result.again = self.booted_again
        self.put_away(result, host_status)
        return result

    def take_state(self, keep):
        """Copies the state of a prepared case to a place that outlives the nested host, if anybody is to see it."""
        if (keep or self.options.keep) and os.path.exists(self.state):
            # Links are copied as links, because a guest has made them.
            shutil.copytree(self.state, self.path("state"), symlinks=True, dirs_exist_ok=True)
        shutil.rmtree(os.path.dirname(self.state), ignore_errors=True)

    def put_away(self, result, host_status):
        """Adds notes to a failure, and removes files that nobody has to look at."""
        if self.prepared:
            self.take_state(bool(result.failures))
        if result.failures:
            result.outcome = "failed"
            if note := host_script.note(host_status, self.path("host.log")):
                result.failures.append(note)
            if any(self.statuses):
                result.failures.append(f"note: the guest's script ended with status {', '.join(map(str, self.statuses))}")
        elif not self.options.keep and not self.booted_again:
            shutil.rmtree(self.directory, ignore_errors=True)
            result.logs = ""
