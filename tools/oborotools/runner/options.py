"""The command line of tests/guest/run."""

import argparse
import os

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))
HERE = os.path.join(TOP, "tests", "guest")
PROGRAM = os.path.join(HERE, "run")
DEFAULT_KERNEL = "6.1"

HELP = """\
Runs guest cases. A case is a text file NAME.case: which guest, what is classified, what runs in it, and what oboro has to
report about it. tests/guest/README.md describes the format.

  tests/guest/run tests/guest                     all of the project's
  tests/guest/run my.case                         one of your own, from anywhere
  tests/guest/run --kernel 6.1,6.18 tests/guest   each of them on two kernels
  tests/guest/run --nested tests/guest            all of them on KVM, in a host that has one (tools/nested-host)
  tests/guest/run --keep my.case                  leaves logs and state for a look even if it passes

Kernels, QEMU and root images are fetched and built when first needed (tools/fetch, tools/guest-image).
Environment: OBORO (the program under test; default build/release/bin/oboro), OBORO_CACHE.
Exit status: 0 all passed or skipped, 1 something failed, 2 a case could not be read or nothing could be run."""


def parser():
    made = argparse.ArgumentParser(prog="tests/guest/run", usage="tests/guest/run [options] CASE...", description=HELP,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("cases", nargs="*", metavar="CASE", help="files *.case, or directories that hold some")
    made.add_argument("--nested", action="store_true", help="run them on KVM, in a nested host")
    made.add_argument("--hooks", help="how the KVM engine is to hook (oboro run --hooks)")
    made.add_argument("--qemu", help="which QEMU oboro is to run")
    made.add_argument("--proxy", choices=("process", "vm"), default="process", help="where the calls of hidden services run (oboro run --proxy)")
    made.add_argument("--prepared", metavar="FILE", help=argparse.SUPPRESS)
    made.add_argument("--report", metavar="FILE", help=argparse.SUPPRESS)
    made.add_argument("--engine", help="which engine oboro is to use (default: its own choice)")
    made.add_argument("--kernel", metavar="V", help=f"kernel, or several with commas between (default {DEFAULT_KERNEL}, or the case's first)")
    made.add_argument("--cpus", type=int, default=1, help="virtual CPUs of guests whose case does not say (default 1)")
    made.add_argument("--jobs", type=int, default=2, metavar="N", help="cases at once (default 2)")
    made.add_argument("--keep", action="store_true", help="keep logs and state of passed cases, too")
    made.add_argument("--alone", action="store_true", help="a guest for each case, also for those that SHARE one")
    made.add_argument("--json", metavar="FILE", help="write the results there, too")
    made.add_argument("--list", action="store_true", help="list the cases, run nothing")
    made.add_argument("--timeout-factor", type=float, default=1.0, metavar="X", help="multiply every TIMEOUT, for a slow machine")
    return made


def parse(arguments=None):
    made = parser()
    options = made.parse_args(arguments)
    if not options.cases and not options.prepared:
        made.error("which cases? (tests/guest for all of the project's)")
    if options.nested:
        options.engine = options.engine or "kvm"
        options.qemu = options.qemu or "/usr/bin/qemu-system-x86_64"
    options.shared_network = None
    return options


def program_under_test(environment=os.environ):
    return os.path.abspath(environment.get("OBORO") or os.path.join(TOP, "build", "release", "bin", "oboro"))
