"""What the guest of tests/faults has told: at each of its starts what its supervisor knew, and then its events."""

import dataclasses

FILE = 1  # event::ObjectType


@dataclasses.dataclass
class Event:
    seq: int
    kind: str
    id: int
    type: int
    labels: int
    file: tuple  # inode and generation
    given: bool = False  # to the ring


@dataclasses.dataclass
class Run:
    first_seq: int
    first_id: int
    boot: int
    files: dict = dataclasses.field(default_factory=dict)  # (inode, generation): (ID, labels)
    events: list = dataclasses.field(default_factory=list)
    began: bool = False


def parse(text):
    """All runs, in their order. One that was ended before it began is none."""
    runs = []
    for line in text.splitlines():
        word, *rest = line.split()
        if word == "start":
            runs.append(Run(*map(int, rest)))
        elif word == "file":
            number, labels, inode, generation = map(int, rest)
            runs[-1].files[inode, generation] = (number, labels)
        elif word == "run":
            runs[-1].began = True
        elif word == "try":
            seq, kind, *numbers = rest
            number, type_, labels, inode, generation = map(int, numbers)
            runs[-1].events.append(Event(int(seq), kind, number, type_, labels, (inode, generation)))
        elif word == "did":
            assert runs[-1].events[-1].seq == int(rest[0])
            runs[-1].events[-1].given = True
    return [run for run in runs if run.began]


def fold(files, events):
    """Which files bear which labels after these events."""
    files = dict(files)
    for event in events:
        if event.type != FILE or event.kind not in ("classified", "diffusion", "removed"):
            continue
        if event.kind == "removed":
            files.pop(event.file, None)
        else:
            files[event.file] = (event.id, files.get(event.file, (0, 0))[1] | event.labels)
    return files
