"""Reads src/event/schema.def, the table of events, and writes the tables of docs/formats.md that repeat it."""

import dataclasses
import os
import re

from .cache import ToolError

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCHEMA = os.path.join(ROOT, "src/event/schema.def")
RING = os.path.join(ROOT, "src/stream/ring.h")
FIELDS = os.path.join(ROOT, "src/event/fields.h")
FORMATS = os.path.join(ROOT, "docs/formats.md")


@dataclasses.dataclass
class Field:
    key: str
    doc: str


@dataclasses.dataclass
class Record:
    """A RECORD (kind is None) or a KIND."""
    kind: str | None
    type: str
    doc: str
    fields: list
    room: str = ""


def read(text=None):
    """All records and kinds, in order."""
    if text is None:
        with open(SCHEMA, encoding="utf-8") as file:
            text = file.read()
    records = []
    for number, line in enumerate(text.splitlines(), 1):
        if found := re.fullmatch(r'RECORD\((\w+), "(.*)"\)', line):
            records.append(Record(None, found[1], found[2], []))
        elif found := re.fullmatch(r'KIND\((\w+), (\w+), (kept|shared), "(.*)"\)', line):
            records.append(Record(found[1], found[2], found[4], [], found[3]))
        elif found := re.fullmatch(r'FIELD\(\w+, \w+, "(\w*)", \w+, "(.*)"\)', line):
            records[-1].fields.append(Field(found[1], found[2]))
        elif re.match(r"(RECORD|KIND|FIELD)\(", line):
            raise ToolError(f"src/event/schema.def, line {number}: an entry stands on one line, as the others do")
    return records


def kinds():
    return tuple(record.kind for record in read() if record.kind)


def object_types():
    """The enumerators of ObjectType, without `none` and `count`."""
    with open(FIELDS, encoding="utf-8") as file:
        found = re.search(r"enum class ObjectType : uint8_t \{ none, ([\w, ]+), count \};", file.read())
    if not found:
        raise ToolError("src/event/fields.h: the enumerators of ObjectType stand on one line, `none` first and `count` last")
    return tuple(found[1].split(", "))


def _record(records, name):
    fields = next(record.fields for record in records if record.type == name)
    return [f"| `{field.key}` | {field.doc} |" for field in fields if field.key]


RING_COUNTERS_AT = 128  # src/stream/ring.h asserts it


def ring_counters(text=None):
    """Offset and meaning of each counter in the ring's header, by struct RingCounters."""
    if text is None:
        with open(RING, encoding="utf-8") as file:
            text = file.read()
    body = re.search(r"^struct RingCounters \{\n(.*?)^\};", text, re.M | re.S)
    if not body:
        raise ToolError("src/stream/ring.h has no struct RingCounters")
    rows = []
    for line in body[1].splitlines():
        found = re.fullmatch(r"  std::atomic<uint64_t> (\w+)\{0\};(?: +// (.*))?", line)
        if not found:
            raise ToolError(f"src/stream/ring.h: '{line.strip()}' is no counter as the others are")
        doc = f"`{found[1]}`: {found[2]}" if found[2] else f"`{found[1]}`"
        rows.append(f"| {RING_COUNTERS_AT + 8 * len(rows)} | u64 {doc} |")
    return rows


def tables():
    """The lines between the markers of docs/formats.md, by the markers' names."""
    records = read()
    head = ["| member | |", "|---|---|"]
    envelope = _record(records, "Envelope")
    envelope[2:2] = ["| `vm` | name of the guest |"]
    envelope += ["| *the kind's name* | an object: what else there is to say, by kind |",
                 "| `detail` | the same in words, for people; no program of Oboro's reads it but in older journals |"]
    rows = []
    for record in records:
        if record.kind:
            members = "; ".join(f"`{field.key}`: {field.doc}" for field in record.fields)
            rows.append(f"| `{record.kind}` | {'kept' if record.room == 'kept' else ''} | {record.doc} | {members} |")
    return {
        "schema.def: event": head + envelope, "schema.def: process": head + _record(records, "Subject"),
        "schema.def: object": head + _record(records, "Object"),
        "schema.def: endpoint": head + _record(records, "Endpoint"),
        "ring.h: counters": ["| offset | |", "|---|---|"] + ring_counters(),
        "schema.def: kinds": ["| kind | room | what happened | members of the object that has the kind's name |", "|---|---|---|---|"] + rows,
    }


def filled(text, made):
    """The document with its tables as they have to be."""
    for name, lines in made.items():
        begin, end = f"<!-- {name} -->", "<!-- end -->"
        if text.count(begin + "\n") != 1:
            raise ToolError(f"docs/formats.md has not one line '{begin}'")
        before, rest = text.split(begin + "\n")
        if end not in rest:
            raise ToolError(f"docs/formats.md: '{begin}' has no '{end}'")
        text = before + begin + "\n" + "\n".join(lines) + "\n" + rest[rest.index(end):]
    return text


def document(check=False):
    """Brings docs/formats.md up to date; with check, only says whether it is."""
    with open(FORMATS, encoding="utf-8") as file:
        text = file.read()
    wanted = filled(text, tables())
    if wanted == text:
        return True
    if not check:
        with open(FORMATS, "w", encoding="utf-8") as file:
            file.write(wanted)
    return not check
