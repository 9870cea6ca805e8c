"""What must hold, whatever has happened. Each function gives what does not, as text for people."""

import os
import re

from . import told

KNOWN_NAMES = {"checkpoint", "events.jsonl", "index.sqlite", "index.sqlite-shm", "index.sqlite-wal", "events.torn", "hidden", "journal", "labels.json", "lock", "lock.guest", "ring", "ring.read", "ring.damaged",
               "status.json"}
SEGMENT = re.compile(r"\d{20}\.(jsonl|jsonl\.zst|checkpoint)")
REMOVED = re.compile(r"bytes \d+ to (\d+) of the journal were removed")


def of_numbers(journal, power=False):
    """journal: its events, of JSON. A gap tells that something was lost, but only a power loss may do that."""
    wrong, last, lost = [], None, power or any(event["kind"] == "lost" for event in journal)
    for event in journal:
        seq = event.get("seq", 0)
        if not seq:
            continue
        if last is not None and seq <= last:
            wrong.append(f"event {seq} comes after event {last} in the journal")
        elif last is not None and seq != last + 1 and not lost:
            wrong.append(f"events {last + 1} to {seq - 1} are missing in the journal, and nothing tells of that")
        last = seq
    return wrong


def _is_there(event, written):
    entry = written.get(event.seq)
    if entry is None or entry["kind"] != event.kind:
        return False
    number = entry.get("object", {}).get("id", "")
    return (number[1:] or "0") == str(event.id)


def of_events(runs, journal, powerless):
    """Everything that was given to the ring is in the journal; and what a start knew is what was there before it.

    powerless: for each run, whether power was lost at its end."""
    wrong = []
    written = {event["seq"]: event for event in journal if event.get("seq")}
    lost = sum(event["lost"]["count"] for event in journal if event["kind"] == "lost")
    removed = min(written, default=1) if any(REMOVED.search(event.get("warning", {}).get("text", "")) for event in journal) else 0
    files, seq, ids = {}, 0, 0
    for number, run in enumerate(runs):
        if run.first_seq <= seq:
            wrong.append(f"start {number + 1} gives number {run.first_seq} again")
        if run.first_id <= ids:
            wrong.append(f"start {number + 1} gives ID {run.first_id} again")
        wrong += _of_start(number, run.files, files, number > 0 and powerless[number - 1])
        kept = []
        bound = runs[number + 1].first_seq if powerless[number] and number + 1 < len(runs) else None
        for event in run.events:
            if bound is not None and event.seq >= bound:
                continue  # nobody has seen it
            there = _is_there(event, written) or (event.given and event.seq < removed)
            if event.given and not there and not powerless[number]:
                lost -= 1
                if lost < 0:
                    wrong.append(f"event {event.seq} ({event.kind} of {event.id}) was given to the ring by start {number + 1}, and is not in the journal")
            if there:
                kept.append(event)
        files = told.fold(run.files, kept)
        seq = max([seq, run.first_seq - 1, *(event.seq for event in kept)])
        ids = max([ids, run.first_id - 1, *(event.id for event in kept)])
    return wrong


def _of_start(number, known, expected, after_power_loss):
    wrong = []
    for file in sorted({*known, *expected}):
        # From what is left of the journal more may follow than from what the guest has told: a source of labels has them.
        if after_power_loss and file not in expected:
            continue
        if known.get(file) != expected.get(file):
            wrong.append(f"start {number + 1} knows file {file} as (ID, labels) {known.get(file)}, and before it that was {expected.get(file)}")
    return wrong


def of_list(listed, reference):
    """The files that bear labels at the end, as in a run to which nothing happened; both as JSON of `oboro list files`."""

    def by_names(entries):
        return {",".join(entry["paths"]) or entry["path"]: sorted(entry["labels"]) for entry in entries if entry["state"] == "present"}

    ours, theirs = by_names(listed), by_names(reference)
    return [f"{names} bears {ours.get(names, 'nothing')}, and without the fault {theirs.get(names, 'nothing')}" for names in sorted({*ours, *theirs})
            if ours.get(names) != theirs.get(names)]


def of_end(listed, runs, after_power_loss=False):
    """The list is what the events say: of which file it is, and its ID."""
    present = [entry for entry in listed if entry["state"] == "present"]
    ours = {(entry["inode"], entry["generation"]): entry["id"] for entry in present}
    theirs = {file: f"f{number}" for file, (number, _) in told.fold(runs[-1].files, runs[-1].events).items()}
    if after_power_loss:
        # The power may have taken the event by which a file went. Where another one has its name now, the list knows that all the same.
        names = {path for entry in present for path in entry["paths"]}
        for entry in listed:
            if entry["state"] != "present" and entry["path"] in names:
                theirs.pop((entry["inode"], entry["generation"]), None)
    return [f"file {file} is listed as {ours.get(file, 'nothing')}, and its events were of {theirs.get(file, 'nothing')}" for file in sorted({*ours, *theirs})
            if ours.get(file) != theirs.get(file)]


def of_directory(directory):
    """Nothing stays there but what docs/formats.md names."""
    names = set(os.listdir(directory)) - KNOWN_NAMES
    names |= {f"journal/{name}" for name in _names(os.path.join(directory, "journal")) if not SEGMENT.fullmatch(name)}
    return [f"{name} stays behind in the state directory" for name in sorted(names)]


def _names(directory):
    return os.listdir(directory) if os.path.isdir(directory) else []


def of_processes(directory, of="/proc"):
    """No process that knows of this directory is left."""
    wrong = []
    for pid in filter(str.isdigit, os.listdir(of)):
        try:
            with open(f"{of}/{pid}/cmdline", "rb") as words, open(f"{of}/{pid}/environ", "rb") as variables:
                command, environment = words.read(), variables.read()
        except OSError:
            continue
        if int(pid) != os.getpid() and directory.encode() + b"/" in command + environment:
            wrong.append(f"process {pid} stays behind: {command.replace(bytes(1), b' ').decode(errors='replace')[:200]}")
    return wrong


def of_checkpoint(journal):
    """No start had to do without a checkpoint because of what is in it: it can be missing yet, or a call may have failed that reads it."""
    return [f"a start had to do without its checkpoint: {text}" for text in (event.get("warning", {}).get("text", "") for event in journal)
            if " at the start: " in text and not re.search(r": (No such file or directory|Input/output error|Too many open files|No space left on device)$", text)]
