"""The guests of bench/run hide, and the other machine that their services talk to."""

import contextlib
import os
import re
import subprocess
import sys

from .. import guest, programs
from .machine import Machine, arguments_of, oboro_status
from .options import HERE

MEMORY = "512M"
SERVICE = "/bin/hidden-sender"
CONFIG = f"""[hide.sender]
exe = "{SERVICE}"
files = ["/var/secret/**"]
network = "remote"
"""
# The other machine: swallows what comes to its first port, and answers what comes to the second after 5 ms.
RECEIVER = """
import heapq, select, socket, sys, time
sink, echo = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
sink.bind((sys.argv[1], 7001)); echo.bind((sys.argv[1], 7002))
sink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
print("ready", flush=True)
late = []
while True:
    wait = max(0, late[0][0] - time.monotonic()) if late else None
    for s in select.select([sink, echo], [], [], wait)[0]:
        data, peer = s.recvfrom(65536)
        if s is echo: heapq.heappush(late, (time.monotonic() + 0.005, data, peer))
    while late and late[0][0] <= time.monotonic():
        _, data, peer = heapq.heappop(late)
        echo.sendto(data, peer)
"""


@contextlib.contextmanager
def other_machine(work):
    """Makes a network namespace, one hop away. Returns its address."""
    name = f"ob{os.getpid() % 100000}"
    ours, theirs = f"10.198.{os.getpid() % 250}.1", f"10.198.{os.getpid() % 250}.2"
    ip = lambda *words: subprocess.run(["ip", *words], check=True)  # noqa: E731
    ip("netns", "add", name)
    try:
        ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("addr", "add", ours + "/30", "dev", name)
        ip("link", "set", name, "up")
        ip("-n", name, "addr", "add", theirs + "/30", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        receiver = subprocess.Popen(["ip", "netns", "exec", name, sys.executable, "-c", RECEIVER, theirs], stdout=subprocess.PIPE)
        try:
            receiver.stdout.readline()
            yield theirs
        finally:
            receiver.kill()
            receiver.wait()
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False)
        subprocess.run(["ip", "link", "del", name], check=False, stderr=subprocess.DEVNULL)


class Setting:
    """Guests of one way to wait, as many as there are VMs."""

    def __init__(self, bench, name, machines):
        self.bench, self.name, self.machines = bench, name, machines

    def ready(self):
        for machine in self.machines:
            machine.wait("ready", 300)
            machine.find_emulator()
        self.bench.about.update(kernel=self.bench.built.release, qemu=self.status()["qemu"])
        return self

    def status(self):
        return oboro_status(self.bench.options.oboro, self.machines[0].state)

    def run(self, who, load, copies, *arguments):
        """In all VMs at once; the first one's result: ns of the service's calls, the others' operations meanwhile."""
        words = " ".join(str(word) for word in ("run", who, load, copies, self.bench.address, *arguments))
        for machine in self.machines:
            machine.tell(words)
        return [[int(word) for word in machine.wait("run", 300)] for machine in self.machines][0]

    def quit(self):
        for machine in self.machines:
            machine.quit()


class Bench:
    def __init__(self, options, work, address, about):
        self.options, self.work, self.address, self.about = options, work, address, about
        self.built = guest.build("minimal", options.kernel, on_disk=True)
        program = programs.compile_static(os.path.join(HERE, "guest", "hide.c"))
        with open(program, "rb") as handle:
            content = handle.read()
        files = [(path, content, 0o755) for path in ("/bin/hide-bench", SERVICE, "/bin/plain-sender")]
        self.initrd = os.path.join(work, "initrd")
        guest.write_initrd(self.built, guest.case_archive(self.built, files, [("exec /bin/hide-bench\n", "poweroff")]), self.initrd)
        self.config = os.path.join(work, "hide.toml")
        with open(self.config, "w") as handle:
            handle.write(CONFIG)
        self.boots = 0

    def boot(self, name, proxy, count=1):
        """Begins to."""
        where = ["--proxy", proxy]
        if proxy == "vm":
            where += ["--proxy-kernel", self.built.kernel, "--proxy-modules", guest.modules_directory(self.built)]
        machines = []
        for _ in range(count):
            disk = self.disk()
            state = os.path.join(self.work, f"state{self.boots}")
            command = [self.options.oboro, "run", "--engine", "tcg", "--kernel", self.built.kernel, "--initrd", self.initrd, "--append",
                       self.built.append + " nokaslr", "--disk", guest.overlay_option(self.built.disk, disk), "--cpus", "1", "--memory", MEMORY, "--config", self.config,
                       "--state", state, "--vm", "bench", "--wait", name, *where,
                       "--", "-name", "bench,debug-threads=on", "-netdev", "user,id=net0", "-device", "virtio-net-pci,netdev=net0,romfile="]
            machine = Machine(name, command, os.path.join(self.work, f"{name}{self.boots}.log"))
            machine.state, machine.disk = state, disk
            machines.append(machine)
        return Setting(self, name, machines)

    def disk(self):
        self.boots += 1
        path = os.path.join(self.work, f"disk{self.boots}.qcow2")
        guest.overlay(self.built.disk, path)
        return path

    def start_like(self, machine, name, plugin=None):
        """The same QEMU with the same options, but without Oboro's plugin, and on a disk of its own."""
        disk = self.disk()
        command = arguments_of(machine.pid)
        at = command.index("-plugin")
        command[at:at + 2] = ["-plugin", plugin] if plugin else []
        ram = os.memfd_create("oboro-guest-ram")
        os.ftruncate(ram, int(MEMORY[:-1]) << 20)
        command = [re.sub(r"(mem-path=/proc/self/fd)/\d+", rf"\1/{ram}", word).replace(machine.disk, disk) for word in command]
        other = Machine(name, command, os.path.join(self.work, f"{name}{self.boots}.log"), (ram,))
        os.close(ram)
        return other
