"""Checks that only src/arch has code that holds for one processor alone (docs/decisions/018)."""

import os
import re

FOLDERS = ("src", "cli", "tests/support", "tests/fuzz")
SUFFIXES = (".h", ".cpp", ".c", ".inc", ".def")

# Patterns that a line must not have, by name; and what to do instead.
RULES = {
    "include": (re.compile(r'^\s*#\s*include\s+"arch/[^"/]+/'), 'include "arch/arch.h": which processor it is, that knows'),
    "register": (re.compile(r"\bReg::\w"), "a register by its name: src/arch says what registers mean"),
    "pt_regs": (re.compile(r"\bpt_regs|\bPtRegs\b"), "arch::UserRegisters is what it is called for any processor"),
    "number": (re.compile(r"\b(SYS|__NR)_[a-z]"), "a guest's system call is arch::sys::NAME"),
}

# Places where a pattern is right: path or folder, rule, reason.
EXCEPTIONS = (
    ("src/supervisor/", "number", "calls of its own, on the host"),
    ("src/proxy/", "number", "calls of its own, on the host, and what its seccomp filter lets through"),
    ("src/base/landlock.h", "number", "calls of its own, on the host"),
    ("src/stream/futex.h", "number", "futex of its own, on the host"),
    ("src/guest/profile/lockdown.cpp", "number", "calls of its own, on the host"),
    ("src/guest/profile/sandbox.cpp", "number", "calls of its own, on the host"),
    ("src/engine/kvm/filter_slot_test.cpp", "number", "runs stubs itself: has the host set a register for them"),
    ("src/guest/profile/schema.def", "pt_regs", "the kernel's own names; those for another processor are alternatives"),
)


def allowed_by(path, rule):
    """The exception that lets a file break a rule; none: it must not."""
    for exception in EXCEPTIONS:
        place, of = exception[:2]
        if of == rule and (path == place or place.endswith("/") and path.startswith(place)):
            return exception
    return None


def check(sources):
    """sources: (path from the top, its lines). Returns problems as FILE:LINE: WHY."""
    problems, used = [], set()
    for path, lines in sources:
        if path.startswith("src/arch/"):
            continue
        for number, line in enumerate(lines, 1):
            for rule, (pattern, why) in RULES.items():
                if not pattern.search(line):
                    continue
                exception = allowed_by(path, rule)
                if exception:
                    used.add(exception)
                else:
                    problems.append(f"{path}:{number}: {why}")
    return problems + [
        f"tools/oborotools/arch_boundary.py:1: nothing in {place} needs its exception ({rule}) any more"
        for place, rule, reason in EXCEPTIONS if (place, rule, reason) not in used
    ]


def sources(top):
    for folder in FOLDERS:
        for directory, _, files in sorted(os.walk(os.path.join(top, folder))):
            for name in sorted(files):
                if name.endswith(SUFFIXES):
                    path = os.path.join(directory, name)
                    with open(path, errors="replace") as handle:
                        yield os.path.relpath(path, top), handle.readlines()
