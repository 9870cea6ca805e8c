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
from . import guests, points
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
    made.add_argument("--guests", type=int, default=0, metavar="N", help="besides, N points with a real guest, on TCG (default 0)")
    made.add_argument("--guest", type=int, metavar="N", help="this one of them, and nothing else")
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
    print(f"seed {options.seed}", flush=True)
    numbers, guest_numbers = range(options.points), range(options.guests)
    if options.point is not None or options.guest is not None:
        numbers, guest_numbers = ([] if one is None else [one] for one in (options.point, options.guest))
    passed, failed, skipped = map(sum, zip(of_points(options, directory, numbers), of_guests(options, guest_numbers)))
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


def of_points(options, directory, numbers):
    """How many of these points passed, failed, and were skipped."""
    if not numbers:
        return 0, 0, 0
    begin = time.monotonic()
    proxies, listed, why = prepared(options, directory)
    for name in os.listdir(directory):
        shutil.rmtree(os.path.join(directory, name))
    if not proxies:
        print(f"skipped: kill-proxy: this host: proxies do not run: {why}", flush=True)

    def one(number):
        point = points.draw(options.seed, number, proxies, options.only)
        here = os.path.join(directory, f"point{number}")
        os.mkdir(here)
        try:
            return point, here, *check(os.path.abspath(options.build), here, point, proxies, listed)
        except Exception as error:  # pylint: disable=broad-except  (one point must not end all)
            return point, here, [f"what it left could not be looked at: {error!r}"], True

    failed = idle = 0
    with concurrent.futures.ThreadPoolExecutor(max(1, options.jobs)) as pool:
        for point, here, wrong, fired in pool.map(one, numbers):
            idle += not fired
            failed += bool(wrong)
            if wrong or options.point is not None:
                told = [f"FAILED point {point.number}: {point}", *(f"    {line}" for line in wrong[:12])] if wrong else [f"ok     point {point.number}: {point}"]
                only = f" --only {options.only}" if options.only else ""
                told += [f"    again: {again(options)}{only} --point {point.number}"] if wrong else []
                print(*told, sep="\n", flush=True)
            if options.point is not None or (wrong and options.keep):
                print(f"    left: {here}")
            else:
                shutil.rmtree(here, ignore_errors=True)
    print(f"{len(numbers)} points in {time.monotonic() - begin:.0f} s; at {idle} nothing happened, as the run did less than others do", flush=True)
    return len(numbers) - failed, failed, int(not proxies)


def again(options):
    return f"tests/faults/run --build {os.path.relpath(options.build)} --seed {options.seed}"


def of_guests(options, numbers):
    """The same of these points with a real guest."""
    wrongs = []

    def report(number, what, wrong):
        wrongs.append(wrong)
        told = [f"FAILED guest {number}: {what}", *(f"    {line}" for line in wrong)] if wrong else [f"ok     guest {number}: {what}"]
        print(*told, *([f"    again: {again(options)} --guest {number}"] if wrong else []), sep="\n", flush=True)

    if numbers:
        guests.run(os.path.abspath(options.build), options.seed, numbers, report)
    failed = sum(map(bool, wrongs))
    return len(wrongs) - failed, failed, 0


def guarded():
    try:
        return main()
    except ToolError as error:
        print(f"tests/faults/run: {error}", file=sys.stderr)
        return 2
