"""The rows of bench/run kvm: what was counted and measured, as it is reported."""

import collections
import re

from .samples import by_boots, ns, ratio
from .tables import EXITS, HANDLER_LIMIT, KVM_TIMES, TOLERANCE


def add_exits(report, exits, waiters):
    """`exits`: by (benchmark, managed, with many managed files); `waiters`: exits a second of the service that waits, without and with
    these files."""
    for many, section in enumerate(("exits to user space for each call", "the same with 10,000 managed files elsewhere (false positives)")):
        for what, benchmark, managed, limit in EXITS:
            if (benchmark, managed, bool(many)) in exits:
                count = exits[benchmark, managed, bool(many)]
                # How many exits of the waiting service fall into this time is known except for a few.
                tolerance = max(TOLERANCE, (2 + count["waiters"] / 5) / count["calls"])
                report.add(section, what, limit + tolerance, max(0, count["exits"] - count["waiters"]) / count["calls"], **count)
    for what, rate in zip(("exits a second", "exits a second, with the managed files"), waiters):
        report.add("the hidden service that waits meanwhile; not counted above", what, None, rate)


def calls_in(trace):
    """The names of the system calls in lines of strace."""
    return ["KVM_RUN" if ", 0xae80," in line else line.split("(")[0].strip() for line in trace if "(" in line]


def add_system_calls(report, calls, stopped):
    # QEMU makes some call between two KVM_RUN after an exit of its own. After one of ours there must be none.
    at_once = sum(one == other == "KVM_RUN" for one, other in zip(calls, calls[1:]))
    report.add("system calls of the vCPU's thread", "hooks with another than KVM_RUN after it", TOLERANCE,
               max(0, stopped - at_once) / max(1, stopped), seen=dict(collections.Counter(calls)), hooks=stopped)


def add_handlers(report, log, native):
    """`log`: of QEMU, where the library says its cycles; `native`: the handlers outside of any emulation, NAME=CYCLES;..."""
    found = re.search(r"handler cycles: (\d+) (\d+) (\d+) (\d+)", log)
    if found:
        number, low, median, high = map(int, found.groups())
        report.add("handling of a stop that changes nothing, in cycles", f"in the nested host, {number} stops", HANDLER_LIMIT, median,
                   low, high, unit="cycles")
    for line in (native or "").split(";"):
        what, _, cycles = line.partition("=")
        if cycles:
            report.add("handling of a stop that changes nothing, in cycles", "on this CPU: " + what, HANDLER_LIMIT, int(cycles), unit="cycles")


def add_times(report, samples_of):
    section = "time with Oboro / without, in nested emulation"
    for what, name, phase, managed, limit in KVM_TIMES:
        samples = samples_of.get((name, managed, False))
        if samples:
            median, low, high = by_boots(samples, lambda pair: ratio(pair, name, phase))
            here = {f"{guest_name}_ns": ns(samples, guest_name, name, phase) for guest_name in ("off", "on")}
            report.add(section, what, limit, median, low, high, **here)


def on_hardware(rows):
    """What the counted exits come to there, in lines."""
    lines = ["Nested emulation overstates what an exit costs: some 20 times. On hardware an exit to user space and back is 1 to 2 us; so"]
    for row in rows:
        if row["section"].startswith("exits") and row["value"] > 0.5:
            lines.append(f"  {row['what']:42} {row['value']:.2f} exits: + {row['value']:.1f} to {2 * row['value']:.1f} us a call")
    return [*lines, "  calls without exits: + 0"]
