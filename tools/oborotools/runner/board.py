"""Prints how the cases go while they run."""

import threading
import time

from ..cache import say
from .selection import short

WORDS = {"passed": "ok    ", "failed": "FAILED", "skipped": "skip  "}


def lines(result):
    """The line that reports a result."""
    tail = result.reason if result.reason else f"kernel {result.kernel}, {result.seconds:.1f} s"
    found = [f"{WORDS[result.outcome]} {short(result.file)}: {result.name} ({tail})"]
    for failure in result.failures:
        for number, line in enumerate(failure.splitlines()):
            found.append(("       " if number == 0 else "         ") + line)
    if result.again:
        found.append(f"       booted again, as no program had run: {result.again}")
    if result.logs:
        found.append(f"       logs: {result.logs}/ (console.log, oboro.log, events.jsonl, command)")
    return found


class Board:
    """Reports results. Says which cases run if it has printed nothing for a while."""

    def __init__(self, total):
        self.total = total
        self.done = 0
        self.running = {}
        self.guard = threading.Lock()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.tick, daemon=True)
        self.thread.start()

    def tick(self):
        while not self.over.wait(15):
            with self.guard:
                now = time.monotonic()
                text = ", ".join(f"{name} ({int(now - begin)} s)" for name, begin in self.running.items())
                if text:
                    say(f"      {self.done} of {self.total} done; running: {text}")

    def report(self, result):
        with self.guard:
            self.done += 1
            for line in lines(result):
                print(line, flush=True)
