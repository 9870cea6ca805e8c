"""Selects the cases that are run, and their kernels."""

import os

from ..cache import ToolError
from .options import DEFAULT_KERNEL, TOP
from .results import Result


def collect(names):
    files = []
    for name in names:
        if os.path.isdir(name):
            found = sorted(os.path.join(directory, entry) for directory, _, entries in os.walk(name) for entry in entries
                           if entry.endswith(".case"))
            if not found:
                raise ToolError(f"there is no *.case in {name}")
            files += found
        elif os.path.isfile(name) and name.endswith(".case"):
            files.append(name)
        else:
            raise ToolError(f"{name} is neither a file *.case nor a directory")
    return list(dict.fromkeys(os.path.realpath(name) for name in files))


def read_all(files, read):
    """The cases of these files; all that is wrong with any of them is said at once."""
    found, broken = [], []
    for file in files:
        try:
            found.append(read(file))
        except ToolError as error:
            broken.append(str(error))
    if broken:
        raise ToolError("\n".join(broken))
    return found


def plan(options, read):
    """The runs to make, as (case, kernel), and the results of those that are skipped."""
    runs, skipped = [], []
    # The longest case begins first. Otherwise it would run alone in the end.
    read = sorted(read, key=lambda case: -case.timeout)
    asked = options.kernel.split(",") if options.kernel else None
    for case in read:
        kernels = asked or [case.kernels[0] if case.kernels and DEFAULT_KERNEL not in case.kernels else DEFAULT_KERNEL]
        for kernel in kernels:
            if case.engine and case.engine != (options.engine or "tcg"):
                skipped.append(Result(case.name, case.file, kernel, "skipped", f"only on engine {case.engine} (--nested)"))
            elif case.kernels and kernel not in case.kernels:
                skipped.append(Result(case.name, case.file, kernel, "skipped", f"only on kernel {', '.join(case.kernels)}"))
            else:
                runs.append((case, kernel))
    # Runs of one case may have to wait for each other (Ports): one kernel after the other.
    if asked:
        runs.sort(key=lambda run: asked.index(run[1]))
    return runs, skipped


def short(file):
    relative = os.path.relpath(file)
    return file if relative.startswith("../..") else relative


def listing(read):
    return [f"{short(case.file)}: {case.name} [{case.guest}" + (f"; kernel {' '.join(case.kernels)}]" if case.kernels else "]") for case in read]


def outside(files):
    """The directories of those of the cases that are not in the tree. A nested host is to have them at the same path."""
    found = {os.path.dirname(file) for file in files if os.path.commonpath([file, TOP]) != TOP}
    if hidden := found & {"/", "/tmp", "/var/tmp"}:
        raise ToolError(f"a nested host has a {hidden.pop()} of its own: for --nested, put the case into a directory elsewhere or below it")
    return found
