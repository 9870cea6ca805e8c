"""How often a vCPU leaves the guest for Oboro, as the preloaded library counts it."""

import os
import time

from ..cache import ToolError
from ..event_schema import RING_COUNTERS_AT
from .machine import oboro_status

STOPS_IN_RING = RING_COUNTERS_AT + 7 * 8  # docs/formats.md


def stops(state):
    with open(os.path.join(state, "ring"), "rb") as handle:
        handle.seek(STOPS_IN_RING)
        return int.from_bytes(handle.read(8), "little")


def start_waiter(guests, machine):
    """Has a hidden service wait while exits are counted. Returns how many exits a second are its own."""
    hidden = lambda: oboro_status(guests.options.oboro, guests.state)["hidden_calls"]  # noqa: E731
    before = hidden()
    machine.ask("waiter", "waiter")
    time.sleep(5)
    if hidden() == before:
        raise ToolError("the service that was to wait is not hidden")
    begin, first = time.monotonic(), stops(guests.state)
    time.sleep(10)
    return (stops(guests.state) - first) / (time.monotonic() - begin)


def exits_of(machine, state, benchmark, managed, waiters):
    """Exits for each call: the slope between a short and a long slice, as commands on the console are calls too. Without
    those of the service that waits: so many a second."""
    machine.ask(f"run {benchmark} {int(managed)} 50", benchmark)
    counts = []
    for batches in (10, {"getppid": 12, "fork": 410, "execve": 410}.get(benchmark, 110)):
        before, begin = stops(state), time.monotonic()
        calls = int(machine.ask(f"go {batches}", benchmark)[-1])
        counts.append((calls, stops(state) - before, time.monotonic() - begin))
    machine.ask("end", "over")
    phases = 2 if benchmark in ("unix-datagram", "unix-stream", "tcp", "udp", "file", "pipe") else 1
    calls, exits, seconds = (more - few for few, more in zip(*counts))
    return {"calls": calls * phases, "exits": exits, "seconds": seconds, "waiters": waiters * seconds}
