"""bench/run hide: the cost of hidden calls, for their services and for everybody else in the guest."""

import collections
import itertools
import shutil
import statistics
import tempfile
import time

from ..cache import ToolError, say
from .hide_guests import SERVICE, Bench, other_machine
from .hide_report import Report
from .machine import empty_plugin, quiet_cpu
from .samples import ORDERS, by_boots
from .samples import paired_ratio as ratio
from .tables import OTHERS

SIZES = (1024, 2048, 3072, 4096)


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
        """Measures pauses, and the work that others get done meanwhile."""
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
