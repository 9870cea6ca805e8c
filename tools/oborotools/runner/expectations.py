"""Compares the records that came with those that a case expects."""

import json
import os
import subprocess
import time

from .. import case as cases
from .results import CaseFailed


class Oboro:
    """Asks `oboro` about a case's state. Its answers are left in the case's directory."""

    def __init__(self, program, state, directory, after=0):
        """`after`: the events up to this number are another case's."""
        self.program, self.state, self.directory, self.after = program, state, directory, after

    def ask(self, *arguments):
        done = subprocess.run([self.program, *arguments, "--state", self.state], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", timeout=60)
        if done.returncode not in (0, 4) and arguments[0] != "status":  # 4: there is nothing to list
            last = (done.stderr.strip().splitlines() or ["?"])[-1]
            raise CaseFailed(f"oboro {' '.join(arguments)} ended with status {done.returncode}: {last}")
        return done.stdout

    def wait_for_journal(self, seconds):
        """Waits until all events so far are in the journal: the guest goes on, and its supervisor may be late."""
        end = time.monotonic() + seconds
        while json.loads(self.ask("status", "--json") or "{}").get("waiting") and time.monotonic() < end:
            time.sleep(0.05)

    def keep(self, name, text, mode="w"):
        with open(os.path.join(self.directory, name), mode) as handle:
            handle.write(text)

    def records(self, name, *arguments):
        text = self.ask(*arguments)
        self.keep(name, text)
        records = []
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                try:
                    records.append(json.loads(line))
                except ValueError as error:
                    raise CaseFailed(f"oboro {' '.join(arguments)}: line {number} is no JSON: {error}")
        return records


SHOWN = 60  # lines of output: what went wrong is seldom in the last ones


def evaluate(case, oboro, output):
    """The lines of the case that do not hold. `output`: the output of its scripts."""
    events = [event for event in oboro.records("events.jsonl", "events", "--json") if not oboro.after or event.get("seq", 0) > oboro.after]
    oboro.ask("verify")
    lists = {}

    def candidates(pattern):
        if not pattern.managed:
            return events
        if not lists:
            for entry in oboro.records("list.jsonl", "list", "all", "--json"):
                lists.setdefault(entry.get("type"), []).append(entry)
            lists.setdefault("file", [])
        return lists.get(pattern.managed, [])

    failures = patterns(case, candidates)
    oboro.keep("output.log", output)
    missed = [f"line {line}: expected  OUTPUT {regex.pattern}" for line, regex in case.output if not regex.search(output)]
    if missed:
        tail = output.strip().splitlines()[-SHOWN:]
        missed[-1] += "\n" + ("\n".join(f"the guest printed  {text[:160]}" for text in tail) or "the guest printed nothing")
        failures += missed
    for line, path, regex in case.explain:
        text = oboro.ask("explain", path)
        oboro.keep("explain.log", f"# {path}\n{text}\n", "a")
        if not regex.search(text):
            failures.append(f"line {line}: expected  EXPLAIN {path} {regex.pattern}\n" +
                            ("\n".join(f"oboro explain  {row}" for row in text.strip().splitlines()[:12]) or "oboro explain printed nothing"))
    if case.status != "any":
        text = oboro.ask("status", "--json")
        oboro.keep("status.json", text)
        came = status_of(text)
        if came != case.status:
            why = [cases.brief(record) for record in events if record.get("kind") in ("incomplete", "lost")][:3]
            failures.append(f"expected  STATUS {case.status}\ncame      {came}" + "".join(f"\n          {row}" for row in why))
    return failures


def patterns(case, candidates):
    """The EXPECT and REJECT lines that do not hold. `candidates(pattern)`: the records that a pattern may mean."""
    failures = []

    def hits(pattern):
        return [record for record in candidates(pattern)
                if (not pattern.kind or record.get("kind") == pattern.kind) and not cases.matches(pattern, record)]

    for pattern in case.expect:
        if not hits(pattern):
            near = cases.nearest(pattern, candidates(pattern))
            failures.append(f"line {pattern.line}: expected  {pattern.text}\n" +
                            ("\n".join(f"came nearest  {line}" for line in near) if near else
                             f"came          nothing like it ({len(candidates(pattern))} "
                             f"{'entries' if pattern.managed else 'events'} in all)"))
    for pattern in case.reject:
        for record in hits(pattern)[:3]:
            failures.append(f"line {pattern.line}: must not be  {pattern.text}\ncame          {cases.brief(record)}")
    return failures


def status_of(text):
    """'complete' or 'incomplete' from what `oboro status --json` printed."""
    try:
        found = json.loads(text)
    except ValueError:
        return f"no JSON: {text.strip()[:100] or '(nothing)'}"
    if isinstance(found, dict):
        if isinstance(found.get("complete"), bool):
            return "complete" if found["complete"] else "incomplete"
        for name in ("status", "result"):
            if found.get(name) in ("complete", "incomplete"):
                return found[name]
    return "JSON that says neither complete nor incomplete"
