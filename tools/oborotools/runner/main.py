"""tests/guest/run: from its command line to its exit status."""

import concurrent.futures
import os
import signal
import tempfile
import time

from .. import case as cases
from .. import guest
from ..cache import ToolError, say
from . import nested_hosts, selection, summary
from .board import Board
from .namespaces import Namespaces
from .options import parse, program_under_test
from .run import STOP, Run
from .shared import members, together


def main(arguments=None):
    options = parse(arguments)
    if options.prepared:
        options.work = tempfile.mkdtemp(prefix="oboro-cases.")
        return run_all(options, nested_hosts.prepared_runs(options), [])
    read = selection.read_all(selection.collect(options.cases), cases.read)
    if options.list:
        for line in selection.listing(read):
            print(line)
        return 0
    if options.nested:
        selection.outside({case.file for case in read})
    options.oboro = program_under_test()
    if not os.access(options.oboro, os.X_OK):
        raise ToolError(f"there is no {options.oboro}: tools/dev build makes it, or OBORO=PATH names another")
    chosen, skipped = selection.plan(options, read)
    if not options.qemu:
        guest.qemu_program("qemu-system-x86_64")
    options.work = tempfile.mkdtemp(prefix="oboro-cases.")
    runs = [Run(options, case, kernel, 10000 + (os.getpid() * 7 + index) % 2000 * 10) for index, (case, kernel) in enumerate(chosen)]
    if options.nested:
        return nested_hosts.run(options, runs, skipped)
    return run_all(options, runs if options.alone else together(runs, max(1, options.jobs)), skipped)


def run_all(options, runs, results):
    """Runs as many of them (Run or SharedRun) at once as there are jobs. Returns the exit status."""
    board = Board(sum(len(members(unit)) for unit in runs) + len(results))
    for result in results:
        board.report(result)

    def one(run):
        with board.guard:
            board.running[run.label] = time.monotonic()
        found = []
        for result in run.results():
            board.report(result)
            if options.report:
                with board.guard, open(options.report, "a") as handle:
                    handle.write(result.line())
                    handle.flush()
                    os.fsync(handle.fileno())
            found.append(result)
        with board.guard:
            board.running.pop(run.label, None)
        return found

    options.shared_network = Namespaces.possible()
    if options.shared_network:
        say(f"      the cases share this host's network ({options.shared_network}): what needs a network of its own fails")
    # At an interrupt or a termination, the cases end what they started in their own `finally`.
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    with concurrent.futures.ThreadPoolExecutor(max(1, options.jobs)) as pool:
        futures = [pool.submit(one, run) for run in runs]
        try:
            results += [result for future in futures for result in future.result()]
        except BaseException:
            STOP.set()
            for future in futures:
                future.cancel()
            raise
    board.over.set()
    return summary.finish(options, results)
