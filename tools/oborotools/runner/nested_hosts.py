"""The same cases on KVM: in nested hosts, each of which runs this program once more."""

import json
import os
import shlex
import shutil
import threading
import time

from .. import case as cases
from .. import nested
from ..cache import ToolError, say
from .board import Board
from .options import PROGRAM, program_under_test
from .results import CaseFailed, Result, from_lines
from .run import Run
from .shared import SharedRun, members, together
from .selection import outside
from .summary import finish

SLOWNESS = 4
BOOTS = 4


def run(options, runs, results):
    """Prepares all here, where the kernels and images are made, and runs them in one boot of a nested host."""
    board = Board(len(runs) + len(results))
    for result in results:
        board.report(result)
    units = runs if options.alone else together(runs, 1)
    units = prepare(units, results, board)
    board.over.set()
    # A copy: the nested hosts see only the tree, and a build may go on meanwhile.
    program = os.path.join(options.work, "program")
    shutil.copytree(os.path.dirname(options.oboro), os.path.join(program, "bin"))
    shutil.copytree(os.path.join(os.path.dirname(options.oboro), "..", "lib"), os.path.join(program, "lib"))
    for boot in range(1, BOOTS + 1):
        left = one_boot(options, program, units, results, board)
        if not left:
            break
        # An emulator runs the host's own kernel, and has bugs of its own. Cases that had begun begin afresh, each by itself.
        say(f"      {len(left)} cases are left; a nested host is booted again ({boot} of at most {BOOTS} times)")
        for one in left:
            shutil.rmtree(one.directory, ignore_errors=True)
            os.mkdir(one.directory)
        units = prepare(left, results, board)
    for one in left:
        results.append(Result(one.case.name, one.case.file, one.kernel, "failed", logs=one.directory,
                              failures=["the nested host did not live to the end of this case"]))
        board.report(results[-1])
    board.over.set()
    shutil.rmtree(program)
    return finish(options, results)


def prepare(units, results, board):
    """The parts that each case is booted from; without the cases for which they could not be made."""
    good = []
    for unit in units:
        board.running[f"preparing {unit.label}"] = time.monotonic()
        try:
            unit.prepare()
            good.append(unit)
        except (CaseFailed, ToolError) as error:
            for one in members(unit):
                results.append(Result(one.case.name, one.case.file, one.kernel, "failed", failures=[str(error)]))
                board.report(results[-1])
        board.running.clear()
    return good


def one_boot(options, program, units, results, board):
    """As many hosts as there are jobs, with a part of the units each; the runs that have no result then."""
    hosts = [NestedHost(options, number, program, part) for number in range(max(1, options.jobs))
             if (part := units[number::max(1, options.jobs)])]
    left = [one for unit in units for one in members(unit)]
    while hosts:
        time.sleep(0.5)
        for host in list(hosts):
            over = not host.thread.is_alive()
            for result in host.new_results():
                results.append(result)
                board.report(result)
                left = [one for one in left if (one.case.file, one.kernel) != result.run]
            if over:
                hosts.remove(host)
                if host.failure:
                    say(f"      {host.failure}")
    return left


class NestedHost:
    """One boot of a nested host, which runs some of the cases, one after the other."""

    def __init__(self, options, number, program, units):
        runs = [one for unit in units for one in members(unit)]
        self.options = options
        self.plan, self.report, self.console = (os.path.join(options.work, f"{name}.{number}") for name in ("plan", "report", "host"))
        self.seen = 0
        self.failure = None
        with open(self.plan, "w") as handle:
            json.dump([[{"file": run.case.file, "kernel": run.kernel, "port": run.port, "directory": run.directory}
                        for run in members(unit)] for unit in units], handle)
        open(self.report, "w").close()
        # A guest that is emulated twice takes its time.
        words = [PROGRAM, "--prepared", self.plan, "--report", self.report, "--jobs", "1",
                 "--timeout-factor", str(options.timeout_factor * SLOWNESS), *(["--keep"] if options.keep else [])]
        self.command = f"OBORO={shlex.quote(os.path.join(program, 'bin', 'oboro'))} {shlex.join(words)}"
        self.read = sorted(outside({run.case.file for run in runs}))
        self.limit = 120 + sum(run.case.timeout for run in runs) * options.timeout_factor * SLOWNESS
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            nested.run(self.command, self.options.work, self.limit, output=self.console, read=self.read)
        except ToolError as error:
            self.failure = str(error)

    def new_results(self):
        with open(self.report) as handle:
            found = from_lines(handle.read())
        fresh, self.seen = found[self.seen:], len(found)
        if not self.thread.is_alive() and self.failure is None:
            for name in (self.plan, self.console):
                if os.path.exists(name):
                    os.unlink(name)
        return fresh


def prepared_runs(options):
    """Runs the plan that NestedHost wrote. Called in the nested host."""
    with open(options.prepared) as handle:
        listed = json.load(handle)
    options.oboro = program_under_test()
    units = [[Run(options, cases.read(entry["file"]), entry["kernel"], entry["port"], entry["directory"]) for entry in unit] for unit in listed]
    return [SharedRun(unit) if len(unit) > 1 else unit[0] for unit in units]
