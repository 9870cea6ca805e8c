"""bench/run hide: what the calls of hidden services cost them, and what they cost everybody else in the guest."""

import collections
import contextlib
import datetime
import itertools
import json
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from figures import ORDERS, by_boots, this_host
from machine import Machine, arguments_of, empty_plugin, oboro_status, quiet_cpu
from oborotools import guest
from oborotools.cache import ToolError, say

HERE = os.path.dirname(os.path.realpath(__file__))
MEMORY = "512M"
SIZES = (1024, 2048, 3072, 4096)
SERVICE = "/bin/hidden-sender"
CONFIG = f"""[hide.sender]
exe = "{SERVICE}"
files = ["/var/secret/**"]
network = "remote"
"""
# Calls of a process that is not hidden: what they are, benchmark and phase of guest/hide.c, times as dear in the paper.
OTHERS = [
    ("sched_yield", "sched_yield", 0, "29 (0.15 -> 4.40 us)"), ("getppid", "getppid", 0, "-"), ("open + close", "open", 0, "-"),
    ("write 4 KB", "file", 0, "-"), ("read 4 KB", "file", 1, "-"), ("UNIX datagram sendto 64 B", "unix", 0, "-"),
    ("UNIX datagram recvfrom 64 B", "unix", 1, "-"), ("fork + exit + wait", "fork", 0, "-"), ("vfork + execve + wait", "execve", 0, "-"),
]
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
    """A network namespace of its own, one hop away; gives its address."""
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
        program = guest.compile_static(os.path.join(HERE, "guest", "hide.c"))
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
                       self.built.append + " nokaslr", "--disk", disk, "--cpus", "1", "--memory", MEMORY, "--config", self.config,
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


class Report:
    """Rows of the table; and all samples that they come from. What is measured is kept, whatever happens to the rest."""

    def __init__(self, options):
        self.file, self.rows, self.samples = options.json, [], {}
        self.about = {"when": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "host": this_host(),
                      "load": os.getloadavg()[0], "proxy": options.proxy, "quick": options.quick}

    def add(self, proxy, what, value, unit, limit, at_least, paper="-", detail=""):
        good = value >= limit if at_least else value <= limit
        self.rows.append({"proxy": proxy, "what": what, "value": value, "unit": unit, "limit": limit, "at_least": at_least,
                          "paper": paper, "detail": detail, "within": good})
        self.write()

    def write(self):
        if not self.file:
            return
        rows = [dict(row, value=row["value"] if math.isfinite(row["value"]) else None) for row in self.rows]
        with open(self.file, "w") as handle:
            json.dump({**self.about, "rows": rows, "samples": self.samples}, handle, indent=1)

    def over(self):
        return sum(not row["within"] for row in self.rows)

    def print(self):
        about = self.about
        print(f"guest: Linux {about.get('kernel', '?')}, QEMU {about.get('qemu', '?')} (TCG), one vCPU, {MEMORY}; --proxy {about['proxy']}")
        print(f"host: {about['host']}, load {about['load']:.1f} at the beginning; {about['when']}, {about.get('seconds', '?')} s"
              + (", --quick\n" if about["quick"] else "\n"))
        print(f"{'proxy':7} {'what':66} {'measured':>10} {'goal':>9}  {'paper':20}")
        for row in self.rows:
            goal = (">= " if row["at_least"] else "<= ") + f"{row['limit']:g}"
            print(f"{row['proxy']:7} {row['what']:66} {row['value']:8.{1 if row['unit'] == '%' else 3}f} {row['unit']:1} {goal:>9}  "
                  f"{row['paper']:20} {'ok  ' if row['within'] else 'OVER'}  {row['detail']}")
        print(f"{len(self.rows) - self.over()} within their goal, {self.over()} not. x: times as much, as long, as often.")
        print("park, block: how the service waits; unhidden: the same program, not hidden; on: a hidden service waits; off: plain QEMU,\n"
              "where it waits unhidden; empty: likewise, and QEMU has a plugin that does nothing. Goals are Oboro's own (bench/README.md).")


def ratio(over, under):
    """The median of the ratios of pairs. Where somebody got nothing at all done, it is infinite."""
    return statistics.median(a / b if b else math.inf if a else math.nan for a, b in zip(over, under, strict=True))


class Measurement:
    def __init__(self, bench, report, options):
        self.bench, self.report = bench, report
        few = 2 if options.quick else 3
        # Calls to another machine take ten times as long, or more.
        self.rounds = {"process": options.rounds or (few if options.quick else 5), "vm": options.rounds or few}
        self.calls = 300 if options.quick else 1000
        self.sizes = SIZES[::3] if options.quick else SIZES
        self.boots = options.boots or (2 if options.quick else 4)
        self.turns, self.slice_ms = (8, 30) if options.quick else (24, 40)

    def keep(self, name, samples):
        self.report.samples[name] = {" ".join(map(str, key)) if isinstance(key, tuple) else key: value for key, value in samples.items()}

    def boot(self, proxy, vms):
        say(f"{vms} VM, --proxy {proxy}: booting")
        settings = {name: self.bench.boot(name, proxy, vms) for name in ("block", "park")}
        return {name: setting.ready() for name, setting in settings.items()}

    def beside_others(self, proxy, settings):
        """Pauses, and what others get done meanwhile."""
        vms = len(settings["park"].machines)
        say(f"{vms} VM, --proxy {proxy}: pauses, and others meanwhile")
        got = collections.defaultdict(list)
        senders = [*((name, setting, SERVICE) for name, setting in settings.items()), ("plain", settings["park"], "/bin/plain-sender")]
        sizes = self.sizes[::3] if proxy == "vm" and vms > 1 else self.sizes
        for number, size, load in itertools.product(range(self.rounds[proxy]), sizes, ("none", "getpid", "disk")):
            turn = number % len(senders)
            for name, setting, who in senders[turn:] + senders[:turn]:
                before = setting.status()["hidden_pause_us"] if load == "none" else 0
                took, operations = setting.run(who, load, int(load != "none"), 7001, "send", size, self.calls)
                if load == "none":
                    got[name, size, "send"].append(took)
                    time.sleep(0.05)
                    got[name, size, "pause"].append(setting.status()["hidden_pause_us"] - before)
                else:
                    got[name, size, load].append(operations / took * 1e6)
        self.keep(f"{vms} VM, {proxy}", got)
        where = {size: f"{vms} VM, {size // 1024} KB" for size in sizes}
        for size in sizes:
            block, park = got["block", size, "pause"], got["park", size, "pause"]
            cut = statistics.median(100 * (1 - b / a) for a, b in zip(block, park, strict=True))
            self.report.add(proxy, f"{where[size]}: pause of {self.calls} sendto, park: less than block by", cut, "%",
                            97, True, ">= 90 %", f"{statistics.median(block) / 1000:.1f} -> {statistics.median(park) / 1000:.2f} ms")
        for load, what, goal, plain_goal in (("getpid", "getpid", 2, 0.95), ("disk", "4 KB disk reads", 1.5, 0.90)):
            for size in sizes:
                park, block, plain = (got[name, size, load] for name in ("park", "block", "plain"))
                for name, than, limit, paper in (("block", block, goal, "rises"), ("unhidden", plain, plain_goal, "-")):
                    self.report.add(proxy, f"{where[size]}: another's {what} meanwhile, park / {name}", ratio(park, than), "x",
                                    limit, True, paper, f"{statistics.median(park):.2f} / {statistics.median(than):.2f} per ms")
        for size in sizes:
            park, plain, block = (got[name, size, "send"] for name in ("park", "plain", "block"))
            us = [statistics.median(times) / self.calls / 1000 for times in (park, plain, block)]
            self.report.add(proxy, f"{where[size]}: {self.calls} sendto, park / unhidden", ratio(park, plain), "x",
                            1.5, False, "-", f"{us[0]:.1f} / {us[1]:.1f} us a call; block {us[2]:.1f} us")

    def beside_busy_ones(self, proxy, settings):
        say("three busy processes beside it")
        busy = {name: [] for name in settings}
        for _ in range(self.rounds[proxy]):
            for name, setting in settings.items():
                busy[name].append(setting.run(SERVICE, "getpid", 3, 7001, "send", 1024, self.calls)[0])
        self.keep(f"busy, {proxy}", busy)
        park, block = (busy[name] for name in ("park", "block"))
        self.report.add(proxy, f"1 VM, 1 KB: {self.calls} sendto with three busy processes, park / block", ratio(park, block), "x",
                        1.0, False, "falls", f"{statistics.median(park) / 1e6:.0f} / {statistics.median(block) / 1e6:.0f} ms")

    def long_wait(self, proxy, settings):
        say("a wait of 10 s")
        park = settings["park"]
        machine = park.machines[0]
        before = machine.cpu_ns()
        own = park.run(SERVICE, "none", 0, 7002, "wait", 10)[0]
        used = machine.cpu_ns() - before
        before = machine.cpu_ns()
        time.sleep(10)
        idle = machine.cpu_ns() - before
        self.report.add(proxy, "CPU of the guest for a hidden recvfrom that waits 10 s", (used - idle) / 1e9, "s", 0.1, False, "10 s",
                        f"of the process, by the guest's clock: {own / 1e9:.3f} s")

    def in_flight(self, proxy, settings):
        say("64 calls in flight")
        park = settings["park"]
        one, many = [], []
        for _ in range(self.rounds[proxy]):
            for threads, took in ((1, one), (64, many)):
                took.append(park.run(SERVICE, "none", 0, 7002, "ask", threads, 50)[0] / (50 * threads))
        self.keep("in flight", {"1": one, "64": many})
        self.report.add(proxy, "throughput of 64 threads with a call each / 1 thread", ratio(one, many), "x", 4, True, "not possible",
                        f"{statistics.median(many) / 1000:.0f} / {statistics.median(one) / 1000:.0f} us a call")

    def calls_of_others(self, proxy):
        """Three guests in turn: Oboro, where a hidden service waits; plain QEMU, and QEMU with a plugin that does nothing,
        where the same program waits by itself."""
        say("calls of others, with and without")
        got = collections.defaultdict(list)
        empty, cpu = empty_plugin(self.bench.work), quiet_cpu()
        for boot in range(self.boots):
            setting = self.bench.boot("park", proxy).ready()
            on = setting.machines[0]
            machines = {"on": on, "off": self.bench.start_like(on, "off"), "empty": self.bench.start_like(on, "empty", empty)}
            for name in ("off", "empty"):
                machines[name].wait("ready", 90)
                machines[name].find_emulator()
            before = setting.status()["hidden_calls"]
            for machine in machines.values():
                machine.pin(cpu)
                machine.ask(f"waiter {self.bench.address} 7002", "waiter")
            time.sleep(1)
            if setting.status()["hidden_calls"] == before:
                raise ToolError("the service that was to wait is not hidden")
            for number in range(self.turns):
                for benchmark in dict.fromkeys(row[1] for row in OTHERS):
                    sample = {name: [float(word) for word in machines[name].ask(f"other {benchmark} {self.slice_ms}", benchmark)]
                              for name in ORDERS[number % len(ORDERS)]}
                    got[benchmark].append({"boot": boot, **sample})
            for machine in machines.values():
                machine.ask("over", "over")
                machine.quit()
        self.keep("others", got)
        for what, benchmark, phase, paper in OTHERS:
            def figure(over, under):
                return by_boots(got[benchmark], lambda sample: sample[over][phase] / sample[under][phase])
            value, low, high = figure("on", "off")
            on, off = (statistics.median(sample[name][phase] for sample in got[benchmark]) / 1000 for name in ("on", "off"))
            self.report.add(proxy, f"{what} of another process, on / off", value, "x", 1.01, False, paper,
                            f"on / empty {figure('on', 'empty')[0]:.3f}, empty / off {figure('empty', 'off')[0]:.3f}; "
                            f"{on:.2f} / {off:.2f} us; boots {low:.3f} to {high:.3f}")


def measure(options):
    only = [word for word in (options.only or "").split(",") if word]
    wants = lambda part: not only or any(part.startswith(word) for word in only)  # noqa: E731
    work = tempfile.mkdtemp(prefix="oboro-bench-hide.")
    report = Report(options)
    begun = time.monotonic()
    keep = True
    try:
        with other_machine(work) as address:
            measurement = Measurement(Bench(options, work, address, report.about), report, options)
            proxies = ("process", "vm") if options.proxy == "both" else (options.proxy,)
            for proxy, vms in itertools.product(proxies, (1,) if options.quick else (1, 2, 3)):
                with_one = {"busy": measurement.beside_busy_ones}
                if proxy == proxies[0]:
                    with_one.update(wait=measurement.long_wait, flight=measurement.in_flight)
                parts = {"vms": measurement.beside_others, **(with_one if vms == 1 else {})}
                parts = [part for name, part in parts.items() if wants(name)]
                settings = measurement.boot(proxy, vms) if parts else {}
                for part in parts:
                    part(proxy, settings)
                for setting in settings.values():
                    setting.quit()
            if wants("others"):
                measurement.calls_of_others(proxies[0])
        keep = options.keep
    finally:
        report.about["seconds"] = round(time.monotonic() - begun)
        report.print()
        if keep:
            say(f"logs: {work}")
        else:
            shutil.rmtree(work)
    report.write()
    return 1 if report.over() else 0
