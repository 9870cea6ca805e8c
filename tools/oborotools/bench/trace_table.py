"""The rows of bench/run trace."""

import statistics

from .samples import ORDERS, by_boots, ns, ratio, spread
from .tables import ARM_LIMITS, JOB_LIMIT, MANY_LIMIT, MEMORY_LIMIT, ROWS


def add(report, plan, samples_of, extra):
    """`samples_of`: by (benchmark, managed, with many managed objects); `extra`: the parts that are no benchmarks, as far as they were
    measured."""
    section = "time with Oboro / without"
    for what, name, phase, managed, limit, paper in ROWS:
        samples = samples_of.get((name, managed, False))
        if samples:
            median, low, high = by_boots(samples, lambda pair: ratio(pair, name, phase))
            empty = by_boots(samples, lambda pair: ratio(pair, name, phase, "empty"))[0]
            report.add(section, what, limit, median, low, high, paper, empty=empty,
                       **{f"{guest_name}_ns": ns(samples, guest_name, name, phase) for guest_name in ORDERS[0]})
    if "job" in extra:
        def job(name):
            return spread([pair[name]["cpu_ns"] / pair["off"]["cpu_ns"] for pair in extra["job"]])
        median, low, high = job("on")
        report.add(section, f"tar + gzip of {plan.tree_mb} MB, not managed", JOB_LIMIT, median, low, high, empty=job("empty")[0])
    add_many(report, plan, samples_of)
    if "memory" in extra and "status" in extra:  # with --null nothing of it is ours
        add_memory(report, extra["memory"])
    for kind, what in (("new", "kernel not seen before"), ("cached", "cached profile")):
        if "arm_ms" in extra:
            median, low, high = spread(extra["arm_ms"][kind])
            report.add("from the first user-mode instruction to hooks armed", what, ARM_LIMITS[kind], median, low, high, unit="ms")


def add_many(report, plan, samples_of):
    for what, name, phase, managed, _, _ in ROWS:
        after = samples_of.get((name, managed, True))
        if after:
            base = {boot: statistics.median(ratio(pair, name, phase) for pair in samples_of[name, managed, False]
                                            if pair["boot"] == boot) for boot in {pair["boot"] for pair in after}}
            median, low, high = spread([ratio(pair, name, phase) / base[pair["boot"]] for pair in after])
            report.add(f"{plan.files} files and {plan.sockets} sockets managed / 1 file", what, MANY_LIMIT, median, low, high,
                       **{f"{guest_name}_ns": ns(after, guest_name, name, phase) for guest_name in ORDERS[0]})


def add_memory(report, memory):
    def mib(which):
        return (memory[which]["on"] - memory[which]["off"]) / 1024
    report.add("memory", "ours in QEMU, with all of these", MEMORY_LIMIT, mib("after"), unit="MiB")
    report.add("memory", "ours in QEMU, before", None, mib("before"), unit="MiB")
    resident, anonymous = memory["supervisor"]
    report.add("memory", "oboro run, with all of these: resident", None, resident / 1024, unit="MiB")
    report.add("memory", "oboro run: of it not from files", None, anonymous / 1024, unit="MiB")
