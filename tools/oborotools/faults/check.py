"""One point: the starts, and what does not hold after them."""

from ..cache import ToolError
from . import invariants
from .points import STEPS, Start
from .scenario import Scenario

# By its supervisor, or by the guest alone if that is gone.
REFUSED = ("is in use by another oboro run", "is in use by the guest of an earlier oboro run")
ABORT = -6  # no memory: the C++ library's end
# How a run may end to which this has happened.
KILLED = {-9}
FINE = {0}


def reference(build, directory, proxies):
    """The list at the end if nothing happens."""
    scenario = Scenario(build, directory, proxies)
    for last in STEPS:
        ended = scenario.start(Start(last))
        if ended.status != 0:
            raise ToolError(f"without a fault: {ended}: {ended.said.strip()}")
    listed, wrong = scenario.entries("list", "files")
    if wrong:
        raise ToolError(wrong[0])
    return listed


def check(build, directory, point, proxies, listed):
    """All that does not hold, and whether something happened at all."""
    scenario = Scenario(build, directory, proxies, point.keep_little)
    wrong, powerless, fired = [], [], False
    for number, start in enumerate((*point.starts, Start(STEPS[-1]), Start(STEPS[-1]))):
        before = len(powerless)
        ended = scenario.start(start)
        wrong += [f"start {number + 1}: {what}" for what in _of_end(start, ended)]
        fired = fired or (ended.fired and ended.status is not None)
        powerless += [False] * (ended.began - before)
        if ended.power and powerless:
            powerless[-1] = True
        if number >= len(point.starts) and ended.status != 0:
            return wrong, fired  # all else follows of that
    wrong += _of_second(point, scenario)
    status, text, said = scenario.ask("verify")
    if status != 0:
        wrong.append(f"oboro verify: exit status {status}: {(text + said).strip()[-400:]}")
    journal, wrong_events = scenario.entries("events")
    files, wrong_list = scenario.entries("list", "files", "--ended", gaps=any(powerless))
    wrong += wrong_events + wrong_list
    runs = scenario.runs()
    wrong += invariants.of_numbers(journal, any(powerless))
    wrong += invariants.of_events(runs, journal, powerless)
    wrong += invariants.of_end(files, runs, any(powerless))
    wrong += invariants.of_checkpoint(journal) + invariants.of_directory(scenario.state) + invariants.of_processes(directory)
    if not any(powerless):
        wrong += invariants.of_list(files, listed)
    return wrong, fired


def _of_end(start, ended):
    """How a start may end."""
    if ended.status is None:
        return [f"it hung; it said: {ended.said.strip()[-400:]}"]
    allowed = set(FINE)
    if start.call and ended.fired:
        allowed |= {1, 2}
        allowed |= KILLED if start.action in ("kill", "killed", "torn") else set()
        allowed |= {ABORT} if start.call == "malloc" else set()
        allowed |= {-15} if start.action == "term" else set()  # before there is a handler
    elif start.event and ended.fired:
        allowed |= {"kill": KILLED, "kill-guest": {1}}.get(start.what, set())
    wrong = [] if ended.status in allowed else [f"{ended}; it said: {ended.said.strip()[-400:]}"]
    if ended.status in (1, 2) and not any(name in ended.said for name in ("oboro: ", "oboro-qemu: ")):
        wrong.append(f"{ended} without a word why")
    return wrong


def _of_second(point, scenario):
    second = scenario.second()
    if second is None:
        return []
    status, said, began = second
    if status == 1 and any(words in said for words in REFUSED) and not began:
        return []
    return [f"the second run was not refused: exit status {status}; it said: {said.strip()[-400:]}"]
