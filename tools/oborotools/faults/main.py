"""tests/faults/run."""

import argparse
import concurrent.futures
import datetime
import os
import shutil
import sys
import tempfile
import time

from ..cache import ToolError
from . import points
from .check import check, reference
from .injector import CALLS

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))

HELP = """\
Runs a guest under oboro again and again; each time something fails at one point, drawn from the seed: a call of the supervisor's, or it, the
guest or a proxy is killed. Then the guest is started again, and it is looked whether anything was lost. tests/faults/README.md says more.

  tests/faults/run                         40 points of today's seed
  tests/faults/run --seed 7 --point 23     this one again, and what was left of it is kept
  tests/faults/run --only fork --points 10 such faults alone: a kind of call, or what happens at an event

Exit status: 0 everything held, 1 something did not, 2 it could not be run. The last line is "N passed, N failed, N skipped"."""


def parse(arguments):
    made = argparse.ArgumentParser(prog="tests/faults/run", description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--build", default=os.path.join(TOP, "build", "release"), metavar="DIR", help="the build under test (default build/release)")
    made.add_argument("--seed", default=datetime.date.today().strftime("%Y%m%d"), metavar="N", help="default: the date")
    made.add_argument("--points", type=int, default=40, metavar="N", help="how many (default 40)")
    made.add_argument("--point", type=int, metavar="N", help="this one alone; what it leaves is kept")
    made.add_argument("--only", choices=(*CALLS, *points.MEANWHILE), metavar="WHAT", help=f"one of {', '.join((*CALLS, *points.MEANWHILE))}")
    made.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="points at once (default: one for each CPU)")
    made.add_argument("--keep", action="store_true", help="keep what is left of failures")
    return made.parse_args(arguments)


def prepared(options, directory):
    """What a run without faults does; with hidden services, if this host lets their proxies run."""
    why = ""
    for proxies in (True, False):
        here = os.path.join(directory, f"reference{int(proxies)}")
        os.mkdir(here)
        try:
            return proxies, reference(os.path.abspath(options.build), here, proxies), why
        except ToolError as error:
            if not proxies:
                raise
            why = str(error)


def main(arguments=None):
    options = parse(arguments)
    directory = tempfile.mkdtemp(prefix="oboro-faults-")
    try:
        return run(options, directory)
    finally:
        if not os.listdir(directory):
            os.rmdir(directory)
        elif not (options.keep or options.point is not None):
            shutil.rmtree(directory, ignore_errors=True)


def run(options, directory):
    begin = time.monotonic()
    print(f"seed {options.seed}", flush=True)
    proxies, listed, why = prepared(options, directory)
    for name in os.listdir(directory):
        shutil.rmtree(os.path.join(directory, name))
    skipped = 0
    if not proxies:
        skipped = 1
        print(f"skipped: kill-proxy: this host: proxies do not run: {why}", flush=True)

    def one(number):
        point = points.draw(options.seed, number, proxies, options.only)
        here = os.path.join(directory, f"point{number}")
        os.mkdir(here)
        return point, here, *check(os.path.abspath(options.build), here, point, proxies, listed)

    numbers = range(options.points) if options.point is None else [options.point]
    failed = idle = 0
    with concurrent.futures.ThreadPoolExecutor(max(1, options.jobs)) as pool:
        for point, here, wrong, fired in pool.map(one, numbers):
            idle += not fired
            if wrong:
                failed += 1
                print(f"FAILED point {point.number}: {point}", *(f"    {line}" for line in wrong[:12]), sep="\n")
                only = f" --only {options.only}" if options.only else ""
                print(f"    again: tests/faults/run --build {os.path.relpath(options.build)} --seed {options.seed}{only} --point {point.number}",
                      flush=True)
            elif options.point is not None:
                print(f"ok     point {point.number}: {point}")
            if options.point is not None or (wrong and options.keep):
                print(f"    left: {here}")
            else:
                shutil.rmtree(here, ignore_errors=True)
    count = len(numbers)
    print(f"{count} points in {time.monotonic() - begin:.0f} s; at {idle} nothing happened, as the run did less than others do")
    print(f"{count - failed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


def guarded():
    try:
        return main()
    except ToolError as error:
        print(f"tests/faults/run: {error}", file=sys.stderr)
        return 2
