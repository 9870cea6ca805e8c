"""Reads guest cases (tests/guest/README.md describes the format) and compares what they expect with what came."""

import dataclasses
import os
import re

from . import event_schema, guest
from .cache import ToolError

# A misspelt kind in a REJECT would hold forever, so they are checked.
KINDS = event_schema.kinds()
OBJECTS = event_schema.object_types()
ALIASES = {
    "type": "object.type", "path": "object.path", "inode": "object.inode", "fs": "object.fs", "fs_type": "object.fs_type",
    "protocol": "object.protocol", "saddr": "object.local.address", "sport": "object.local.port",
    "daddr": "object.remote.address", "dport": "object.remote.port", "pid": "subject.pid", "tid": "subject.tid",
    "comm": "subject.comm", "exe": "subject.exe", "cgroup": "subject.cgroup",
    "unit": "subject.unit", "uid": "subject.uid", "user": "subject.user", "login_user": "subject.login_user",
    "parent": "subject.parent"}
TOP = ("time", "seq", "vm", "boot", "kind", "labels", "syscall", "verdict", "detail")
ROOTS = ("subject", "from", "object", *KINDS)
ENTRY_ALIASES = {"saddr": "local.address", "sport": "local.port", "daddr": "remote.address", "dport": "remote.port"}
SINGLE = ("NAME", "ENGINE", "GUEST", "CPUS", "MEMORY", "CONFIG", "STATUS", "TIMEOUT", "DISK", "NETWORK", "SHARE")
REPEATED = ("KERNEL", "PACKAGES", "MODULES", "FILE", "CLASSIFY", "ARGS", "HOST", "RUN", "REBOOT", "EXPECT", "REJECT", "OUTPUT",
            "EXPLAIN")
# Words that make a guest one case's own.
NOT_SHARED = ("ENGINE", "GUEST", "PACKAGES", "DISK", "CONFIG", "ARGS", "NETWORK", "HOST", "REBOOT", "STATUS")
MOST = {"NAME": "a word or more", "GUEST": "minimal, plain or full"}


@dataclasses.dataclass
class Pattern:
    """One EXPECT or REJECT."""
    text: str
    line: int
    managed: str | None  # the type of list entry, or None: an event
    kind: str | None
    fields: list  # of (name, operator, value)


@dataclasses.dataclass
class Case:
    file: str
    name: str = ""
    engine: str = ""  # the only engine that the case is for
    guest: str = ""
    kernels: list = dataclasses.field(default_factory=list)
    cpus: int = 0
    memory: str = "512M"
    packages: list = dataclasses.field(default_factory=list)
    modules: list = dataclasses.field(default_factory=list)
    disk: bool = False
    files: list = dataclasses.field(default_factory=list)  # of (path in the guest, source or None)
    classify: list = dataclasses.field(default_factory=list)
    config: str | None = None
    args: list = dataclasses.field(default_factory=list)
    network: str = "own"  # or host
    share: bool = False  # may run in the guest of others
    host: list = dataclasses.field(default_factory=list)
    boots: list = dataclasses.field(default_factory=lambda: [[]])  # of lists of RUN lines
    ends: list = dataclasses.field(default_factory=list)  # the end of each boot but the last: reboot; kill; or kill, who, after how many events
    expect: list = dataclasses.field(default_factory=list)
    reject: list = dataclasses.field(default_factory=list)
    output: list = dataclasses.field(default_factory=list)  # of (line, compiled)
    explain: list = dataclasses.field(default_factory=list)  # of (line, path, compiled)
    status: str = "complete"
    timeout: int = 0

    @property
    def identity(self):
        return os.path.basename(self.file)[:-len(".case")]


def words(text):
    """Splits at blanks; quotes keep blanks together and are removed. A backslash is only a backslash: regular
    expressions are full of them."""
    found = []
    for match in re.finditer(r"""(?:[^\s"']|"[^"]*"|'[^']*')+""", text):
        found.append(re.sub(r""""([^"]*)"|'([^']*)'""", lambda m: m[1] if m[1] is not None else m[2], match[0]))
    if text.count('"') % 2 and "'" not in text:
        raise ValueError("a quote is not closed")
    return found


def _pattern(text, line):
    parts = words(text)
    if not parts:
        raise ValueError("names neither an event kind nor 'managed TYPE'")
    managed = kind = None
    if parts[0] == "managed":
        if len(parts) < 2 or parts[1] not in OBJECTS:
            raise ValueError(f"'managed' wants a type: {', '.join(OBJECTS)}")
        managed, rest = parts[1], parts[2:]
    else:
        kind, rest = parts[0], parts[1:]
        if kind not in KINDS:
            raise ValueError(f"'{kind}' is no event kind: {', '.join(KINDS)}")
    fields = []
    for part in rest:
        match = re.fullmatch(r"([\w.]+)([=~])(.*)", part, re.S)
        if not match:
            raise ValueError(f"'{part}' is neither FIELD=VALUE nor FIELD~REGEX")
        name, operator, value = match.groups()
        if not managed and name not in ALIASES and name not in TOP and name.split(".")[0] not in ROOTS:
            raise ValueError(f"events have no field '{name}': {', '.join((*TOP, *ALIASES))}, or a path such as from.comm")
        if operator == "~":
            value = _regex(value)
        fields.append((name, operator, value))
    return Pattern(text, line, managed, kind, fields)


def _regex(text, flags=re.M):
    try:
        return re.compile(text, flags)
    except re.error as error:
        raise ValueError(f"'{text}' is no regular expression: {error}")


def _beside(case, name, or_directory=False):
    path = os.path.join(os.path.dirname(case.file), name)
    if not os.path.isfile(path) and not (or_directory and os.path.isdir(path)):
        raise ValueError(f"there is no file {path}")
    return path


def _directive(case, word, rest, line):
    if word in MOST and not rest:
        raise ValueError(f"{word} wants {MOST[word]}")
    if word == "NAME":
        case.name = rest
    elif word == "ENGINE":
        if rest not in ("kvm", "tcg"):
            raise ValueError(f"'{rest}' is no engine: kvm or tcg")
        case.engine = rest
    elif word == "GUEST":
        if rest not in guest.KINDS:
            raise ValueError(f"'{rest}' is no kind of guest: {', '.join(guest.KINDS)}")
        case.guest = rest
    elif word == "KERNEL":
        for key in rest.split():
            if not re.fullmatch(r"\d+\.\d+(-full)?", key):
                raise ValueError(f"'{key}' is no kernel, such as 6.1 or 6.1-full")
            case.kernels.append(key)
    elif word == "CPUS":
        if not re.fullmatch(r"[1-9]\d?", rest):
            raise ValueError(f"'{rest}' is no number of CPUs")
        case.cpus = int(rest)
    elif word == "MEMORY":
        if not re.fullmatch(r"\d+[MG]", rest):
            raise ValueError(f"'{rest}' is no amount of memory, such as 512M")
        case.memory = rest
    elif word == "PACKAGES":
        case.packages += rest.split()
    elif word == "MODULES":
        case.modules += rest.split()
    elif word == "DISK":
        if rest:
            raise ValueError("DISK takes no value")
        case.disk = True
    elif word == "SHARE":
        if rest:
            raise ValueError("SHARE takes no value")
        case.share = True
    elif word == "NETWORK":
        if rest not in ("own", "host"):
            raise ValueError(f"'{rest}' is no network: own or host")
        case.network = rest
    elif word == "FILE":
        parts = rest.split()
        if len(parts) not in (1, 2) or not parts[0].startswith("/") or parts[0].endswith("/"):
            raise ValueError("FILE wants an absolute path in the guest and, if you like, a SOURCE")
        source = parts[1] if len(parts) == 2 else None
        case.files.append((os.path.normpath(parts[0]), source if source in (None, "@ssh-key") else _beside(case, source, or_directory=True)))
    elif word == "CLASSIFY":
        if not re.fullmatch(r"/.*=[\w.,-]+", rest):
            raise ValueError("CLASSIFY wants PATTERN=LABEL, such as /srv/secret/**=plan")
        case.classify.append(rest)
    elif word == "CONFIG":
        case.config = _beside(case, rest)
    elif word == "ARGS":
        case.args += words(rest)
    elif word == "HOST":
        case.host.append(rest)
    elif word == "RUN":
        case.boots[-1].append(rest)
    elif word == "REBOOT":
        if not re.fullmatch(r"(kill( (qemu|run) [1-9]\d{0,5})?)?", rest):
            raise ValueError("REBOOT takes nothing, or 'kill', or 'kill qemu EVENTS' or 'kill run EVENTS'")
        if not case.boots[-1]:
            raise ValueError("nothing is RUN before this REBOOT")
        case.ends.append(rest or "reboot")
        case.boots.append([])
    elif word == "EXPECT":
        case.expect.append(_pattern(rest, line))
    elif word == "REJECT":
        case.reject.append(_pattern(rest, line))
    elif word == "OUTPUT":
        case.output.append((line, _regex(rest)))
    elif word == "EXPLAIN":
        path, _, regex = rest.partition(" ")
        if not regex.strip():
            raise ValueError("EXPLAIN wants a path and a regular expression")
        case.explain.append((line, path, _regex(regex.strip(), re.M | re.S)))
    elif word == "STATUS":
        if rest not in ("complete", "incomplete", "any"):
            raise ValueError("STATUS is complete, incomplete or any")
        case.status = rest
    elif word == "TIMEOUT":
        if not re.fullmatch(r"[1-9]\d{0,3}", rest):
            raise ValueError(f"'{rest}' is no number of seconds")
        case.timeout = int(rest)


def read(file):
    case = Case(os.path.abspath(file))
    seen = {}
    try:
        with open(file, encoding="utf-8") as handle:
            lines = handle.read().split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ToolError(f"{file}: cannot be read: {getattr(error, 'strerror', None) or error}")
    for number, line in enumerate(lines, 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        word, _, rest = line.partition(" ") if " " in line else line.partition("\t")
        try:
            if word not in SINGLE and word not in REPEATED:
                raise ValueError(f"'{word}' is no directive: {', '.join((*SINGLE, *REPEATED))}")
            if word in SINGLE and word in seen:
                raise ValueError(f"{word} stands in line {seen[word]} already")
            seen[word] = number
            # The shell knows its own comments.
            rest = rest.strip() if word in ("RUN", "HOST") else re.sub(r"(^|\s)#(\s.*)?$", "", rest).strip()
            if not rest and word not in ("DISK", "REBOOT", "SHARE"):
                raise ValueError(f"{word} wants a value")
            _directive(case, word, rest, number)
        except ValueError as error:
            raise ToolError(f"{file}:{number}: {error}")
    last = len(lines)
    if not case.name:
        raise ToolError(f"{file}:{last}: there is no NAME")
    if not case.boots[-1]:
        raise ToolError(f"{file}:{last}: nothing is RUN" + (" after the last REBOOT" if case.ends else ""))
    if not (case.expect or case.reject or case.output or case.explain or "STATUS" in seen):
        raise ToolError(f"{file}:{last}: nothing is checked: no EXPECT, REJECT, OUTPUT, EXPLAIN or STATUS")
    if case.guest == "minimal" and case.packages:
        raise ToolError(f"{file}:{seen['PACKAGES']}: a minimal guest has no packages")
    if case.share and (others := sorted(set(seen) & set(NOT_SHARED), key=seen.get)):
        raise ToolError(f"{file}:{seen['SHARE']}: a case with {' and '.join(others)} cannot SHARE a guest")
    case.guest = case.guest or ("plain" if case.packages else "minimal")
    case.disk = case.disk or bool(case.ends)
    # A busy machine boots several times slower than an idle one, and systemd takes four times as long as busybox.
    case.timeout = case.timeout or (60 + 30 * len(case.ends) if case.guest != "full" else 120 + 60 * len(case.ends))
    return case


def _follow(value, path):
    for part in path.split("."):
        if not isinstance(value, dict) or part not in value:
            return None
        value = value[part]
    return value


def _texts(value):
    """The texts that a value may be compared as: each text of a list; otherwise one."""
    if value is None:
        return []
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    if isinstance(value, bool):
        return ["true" if value else "false"]
    return [str(value)]


def matches(pattern, record):
    """The names of the fields that differ; empty if all hold."""
    differing = []
    for name, operator, wanted in pattern.fields:
        if name == "labels":
            labels = record.get("labels")
            texts = [",".join(sorted(labels))] if isinstance(labels, list) else _texts(labels)
            if operator == "=":
                wanted = ",".join(sorted(wanted.split(",")))
        elif pattern.managed:
            texts = _texts(_follow(record, ENTRY_ALIASES.get(name, name)))
            if name == "path":
                texts += _texts(record.get("paths"))
        else:
            texts = _texts(_follow(record, ALIASES.get(name, name)))
        if operator == "=" and wanted == "" and not texts:
            continue
        if not any(text == wanted if operator == "=" else wanted.search(text) for text in texts):
            differing.append(name)
    return differing


def brief(record):
    """One line of an event or list entry, for a person."""
    def thing(value):
        if not isinstance(value, dict) or not value or value.get("type") in (None, "none"):
            return ""
        kind = value.get("type")
        what = value.get("path") or ""
        if kind == "process":
            what = f"{value.get('comm', '?')}({value.get('pid', '?')})"
        elif kind == "socket":
            ends = []
            for side in ("local", "remote"):
                end = value.get(side) or {}
                ends.append(f"{end.get('address', '')}:{end.get('port', '')}" if isinstance(end, dict) else str(end))
            what = f"{value.get('protocol', '')} {'->'.join(ends)}"
        return f"{kind} {what or value.get('id', '')}".strip()

    labels = record.get("labels")
    parts = []
    if "kind" in record:
        parts.append(record["kind"])
        parts.append("labels=" + ",".join(labels) if isinstance(labels, list) else "")
        for name in ("syscall", "verdict"):
            parts.append(f"{name}={record[name]}" if record.get(name) else "")
        subject = record.get("subject") or {}
        if subject.get("comm"):
            parts.append(f"by {subject['comm']}({subject.get('pid', '?')})")
        for name, word in (("from", "from"), ("object", "object")):
            text = thing(record.get(name))
            parts.append(f"{word}: {text}" if text else "")
        parts.append(f"({record['detail']})" if record.get("detail") else "")
    else:
        parts.append(thing(record) or " ".join(f"{k}={v}" for k, v in record.items() if not isinstance(v, (dict, list))))
        parts.append("labels=" + ",".join(labels) if isinstance(labels, list) else "")
        parts.append(f"state={record['state']}" if record.get("state") else "")
    return " ".join(part for part in parts if part)


def nearest(pattern, records, limit=3):
    """The records that come closest, as lines that say what differs."""
    scored = []
    for order, record in enumerate(records):
        wrong_kind = bool(pattern.kind and record.get("kind") != pattern.kind)
        differing = matches(pattern, record)
        score = len(pattern.fields) - len(differing)
        if wrong_kind and not score:
            continue
        scored.append((wrong_kind, len(differing), order, differing, record))
    scored.sort(key=lambda item: (item[1] + 1.5 * item[0], item[2]))
    lines = []
    for wrong_kind, _, _, differing, record in scored[:limit]:
        differing = (["kind"] if wrong_kind else []) + differing
        lines.append(f"{brief(record)}   [differs: {', '.join(differing)}]" if differing else brief(record))
    return lines
