"""A guest that is measured: it is up and takes commands on its console."""

import json
import os
import queue
import re
import signal
import subprocess
import threading
import time

from .. import cache
from ..cache import ToolError
from ..processes import bound, descendants
from .options import HERE


def arguments_of(pid):
    with open(f"/proc/{pid}/cmdline", "rb") as handle:
        return [argument.decode() for argument in handle.read().split(b"\0")[:-1]]


def vcpu_thread(pid):
    """The thread of QEMU that runs the guest, None while there is none."""
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/comm") as handle:
                if handle.read().startswith("CPU 0"):
                    return int(thread)
    except OSError:
        pass
    return None


class Machine:
    """A guest that is up and takes commands on its console."""

    def __init__(self, name, command, log, pass_fds=()):
        self.name = name
        self.log = open(log, "wb")
        # It has priority over others on this host, where that is allowed. It ends with this process, however this one ends.
        command = ["nice", "-n", "-10", *bound(command)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log,
                                        pass_fds=pass_fds, start_new_session=True)
        self.answers = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        for line in self.process.stdout:
            self.log.write(line)
            self.log.flush()
            text = line.decode(errors="replace").strip()
            if text.startswith("@r "):
                self.answers.put(text[3:].split())
            elif "Kernel panic" in text or text.startswith("@oboro failed"):
                self.answers.put(["failed", text])
        self.answers.put(None)

    def wait(self, word, timeout):
        try:
            answer = self.answers.get(timeout=timeout)
        except queue.Empty:
            raise ToolError(f"the guest '{self.name}' did not answer within {timeout} s ({self.log.name})")
        if answer is None:
            raise ToolError(f"the guest '{self.name}' ended unexpectedly ({self.log.name})")
        if answer[0] != word:
            raise ToolError(f"the guest '{self.name}' was to answer {word}, but said {' '.join(answer)}")
        return answer[1:]

    def find_emulator(self):
        """Once the guest is up."""
        for pid in [self.process.pid, *descendants(self.process.pid)]:
            # A proxy's machine is not measured.
            if vcpu_thread(pid) and not any(word.startswith("oboro-proxy-") for word in arguments_of(pid)):
                self.pid, self.thread = pid, vcpu_thread(pid)
                return
        raise ToolError(f"no QEMU below {self.process.pid}")

    def pin(self, *cpus):
        """Everything of this guest onto these CPUs of the host."""
        for pid in [self.process.pid, *descendants(self.process.pid)]:
            for thread in os.listdir(f"/proc/{pid}/task"):
                os.sched_setaffinity(int(thread), cpus)

    def tell(self, command):
        try:
            self.process.stdin.write(command.encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise ToolError(f"the guest '{self.name}' ended unexpectedly ({self.log.name})")

    def ask(self, command, word, timeout=60):
        self.tell(command)
        return self.wait(word, timeout)

    def cpu_ns(self):
        """CPU time of the vCPU, once the guest is idle: the time of its code and of the hooks. Other programs on this host's
        CPU do not count."""
        task = f"/proc/{self.pid}/task/{self.thread}"
        for _ in range(200):
            with open(task + "/stat") as handle:
                if handle.read().rsplit(")", 1)[1].split()[0] == "S":
                    break
            time.sleep(0.0002)
        with open(task + "/schedstat") as handle:
            return int(handle.read().split()[0])

    def memory(self):
        """KiB of QEMU's memory that is neither the guest's nor translated code: anonymous memory, and what it shares with
        the supervisor. How much code is translated depends on what ran; it is QEMU's, and bounded by its tb-size."""
        total, counts, shared = 0, False, False
        with open(f"/proc/{self.pid}/smaps") as handle:
            for line in handle:
                if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                    counts = line.split()[1] != "rwxp"
                    shared = "/memfd:oboro" in line and "oboro-guest-ram" not in line
                elif counts and line.startswith("Rss:" if shared else "Anonymous:"):
                    total += int(line.split()[1])
        return total

    def supervisor_memory(self):
        """KiB resident of `oboro run` itself: all, and without what is read from files."""
        with open(f"/proc/{self.process.pid}/status") as handle:
            text = handle.read()
        return [int(re.search(name + r":\s+(\d+)", text)[1]) for name in ("VmRSS", "RssAnon")]

    def quit(self):
        try:
            self.ask("quit", "bye", 10)
            self.process.wait(20)
        except (ToolError, subprocess.TimeoutExpired, OSError):
            pass
        self.kill()

    def kill(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def oboro_status(oboro, state):
    done = subprocess.run([oboro, "status", "--json", "--state", state], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
                          text=True)
    return json.loads(done.stdout)


def empty_plugin(work):
    """The path of a plugin for QEMU that does nothing. Its cost is QEMU's own price for a plugin."""
    path = os.path.join(work, "empty.so")
    cache.run([os.environ.get("CC", "gcc"), "-O2", "-shared", "-fPIC", "-o", path, os.path.join(HERE, "empty_plugin.c")])
    return path


def quiet_cpu():
    """The CPU that other programs use least."""
    def idle():
        with open("/proc/stat") as handle:
            return {int(m[1]): int(m[2]) for m in re.finditer(r"^cpu(\d+)(?: \d+){3} (\d+)", handle.read(), re.M)}
    before = idle()
    time.sleep(0.5)
    after = idle()
    return max(os.sched_getaffinity(0), key=lambda cpu: after.get(cpu, 0) - before.get(cpu, 0))
