"""The points at which something fails: drawn from a seed, each by its number alone, so that one can be run again."""

import dataclasses
import random

FAULTED = 2  # starts that something may happen to; one follows to which nothing happens
# What the supervisor calls, and the guest reports, in each of its starts at least. (Fixed: a point must not depend on what this host happens to do.)
CALLS = {"write": 50, "pwrite": 3, "sync": 28, "rename": 9, "link": 2, "unlink": 9, "open": 44, "truncate": 2, "allocate": 3, "mmap": 4, "memfd": 3,
         "mkdir": 6, "malloc": 20000, "fork": 3, "thread": 2, "socket": 4}
EVENTS = 380
FOR_EVER = 100000
STEPS = (400, 700, 1000)  # up to which step of the guest each start goes
MEANWHILE = ("kill", "term", "hup", "kill-guest", "kill-proxy", "second", "orphan")
# What may become of a call. A process may be killed at each.
ERRORS = {"write": ("ENOSPC", "EIO", "EINTR", "short", "torn"), "pwrite": ("ENOSPC", "EIO"), "sync": ("EIO", "ENOSPC"),
          "rename": ("ENOSPC", "EIO"), "link": ("ENOSPC", "EIO"), "unlink": ("EIO",), "open": ("EMFILE", "ENOSPC", "EIO"),
          "truncate": ("EIO",), "allocate": ("ENOSPC", "EINTR"), "mmap": ("ENOMEM",), "memfd": ("ENOMEM", "EMFILE"), "mkdir": ("ENOSPC",),
          "malloc": ("ENOMEM",), "fork": ("EAGAIN",), "thread": ("EAGAIN",), "socket": ("EMFILE", "ENOMEM")}


@dataclasses.dataclass(frozen=True)
class Start:
    """One start of the guest, up to a step, and what happens to it: nothing; or something at an event of the guest's; or at a call of the
    supervisor's."""

    last: int
    event: int = 0
    when: str = "before"
    what: str = "none"
    call: str = ""
    number: int = 0
    count: int = 1
    action: str = ""
    detached: bool = False  # oboro-qemu: the supervisor is a process apart, which the guest may outlive
    power: bool = False  # what was not synchronised is lost, when the process has ended

    def __str__(self):
        if self.call:
            times = "" if self.count == 1 else " and all after it" if self.count == FOR_EVER else f" and the {self.count - 1} after it"
            where = " of oboro-qemu's supervisor" if self.detached else ""
            return f"{self.action} at {self.call} {self.number}{times}{where}{', power loss' if self.power else ''}"
        return f"{self.what} {self.when} event {self.event}" if self.event else "nothing"


@dataclasses.dataclass(frozen=True)
class Point:
    number: int
    starts: tuple
    keep_little: bool  # older segments of the journal are removed meanwhile

    def __str__(self):
        kept = " (old segments are removed)" if self.keep_little else ""
        return "; then ".join(str(start) for start in self.starts) + kept


def draw(seed, number, proxies, only=None):
    """proxies: there are some. only: a call or one of MEANWHILE, which is taken for all faults."""
    dice = random.Random(f"{seed}:{number}")
    starts = [_start(dice, STEPS[i], proxies, only) for i in range(dice.choice((1, 1, FAULTED)))]
    first = FAULTED - len(starts)
    if first and dice.random() < 0.3:  # it begins with a journal that is there already
        starts.insert(0, Start(STEPS[0]))
        starts[1] = dataclasses.replace(starts[1], last=STEPS[1])
    return Point(number, tuple(starts), keep_little=not any(start.power for start in starts) and dice.random() < 0.3)


def _start(dice, last, proxies, only):
    meanwhile = [what for what in MEANWHILE if (proxies or what != "kill-proxy") and only in (None, what)]
    calls = [call for call in CALLS if only in (None, call)]
    if meanwhile and (not calls or dice.random() < 0.3):
        what = dice.choice(meanwhile)
        return Start(last, event=dice.randint(1, EVENTS), when=dice.choice(("before", "after")), what=what, detached=what == "orphan")
    call = dice.choice(calls)
    number = dice.randint(1, CALLS[call])
    detached = dice.random() < 0.25
    if dice.random() < 0.5:
        action = dice.choice(("kill", "killed", "term"))
        return Start(last, call=call, number=number, action=action, detached=detached,
                     power=action != "term" and dice.random() < 0.4)
    action = dice.choice(ERRORS[call])
    # A disk that stays full: longer than a run tries again at its end.
    count = FOR_EVER if action == "ENOSPC" and call in ("write", "sync") and dice.random() < 0.3 else dice.choice((1, 1, 3))
    return Start(last, call=call, number=number, action=action, count=count if action.startswith("E") else 1, detached=detached,
                 power=action == "torn" and dice.random() < 0.4)
