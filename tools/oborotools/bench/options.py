"""The command line of bench/run."""

import argparse
import os

from .tables import ROWS


TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))
HERE = os.path.join(TOP, "bench")
PROGRAM = os.path.join(HERE, "run")

HELP = """\
Measures what tracing costs in a guest: guests that differ only in QEMU's plugin - none, one that does nothing, Oboro - run
the same slices in turn, and what is compared are neighbours. bench/README.md says how to read the figures.

  bench/run trace                        everything; 10 to 15 minutes on a quiet host
  bench/run trace --quick                smaller and coarser; about 3 minutes
  bench/run trace --only lat_,getppid    some of it: names of benchmarks, or of the parts job, many, arm
  bench/run trace --null                 plain QEMU on both sides: what the figures are worth on this host
  bench/run hide                         hidden services: what their calls cost them and others; 20 to 25 minutes
  bench/run kvm                          the KVM engine, in a nested host (tools/nested-host): how often calls leave the
                                         guest, and what that costs there; about 10 minutes

Environment: OBORO (the program under test; default build/release/bin/oboro), OBORO_CACHE.
Exit status: 0 every figure is within its limit, 1 some is over, 2 it could not be measured."""


# What --only chooses from.
PARTS = {
    "trace": (*dict.fromkeys(row[1] for row in ROWS), "job", "many", "arm"),
    "hide": ("vms", "busy", "wait", "flight", "others"),
    "kvm": (),
}


def parser():
    made = argparse.ArgumentParser(prog="bench/run", usage="bench/run trace|kvm|hide [options]", description=HELP,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("what", choices=("trace", "kvm", "hide"))
    made.add_argument("--json", metavar="FILE", help="write every sample and every row of the table")
    made.add_argument("--quick", action="store_true", help="fewer rounds, shorter slices, a smaller tree")
    made.add_argument("--kernel", default="6.1", metavar="KEY", help="as in tools/fetch kernel KEY (default 6.1)")
    made.add_argument("--rounds", type=int, metavar="N", help="rounds of each benchmark (default 48, quick 16)")
    made.add_argument("--only", metavar="NAMES", help="beginnings of names, with commas between (hide: vms, busy, wait, flight, others)")
    made.add_argument("--boots", type=int, metavar="N", help="boots that the rounds are spread over (default 6, quick 2)")
    made.add_argument("--cpu", type=int, help="host CPU for both guests (default: the one that is least used)")
    made.add_argument("--null", action="store_true", help="plain QEMU on both sides")
    made.add_argument("--counts", action="store_true", help="kvm: only how often calls leave the guest, no times")
    made.add_argument("--qemu", default="/usr/bin/qemu-system-x86_64", help="kvm: which QEMU of the nested host (default: Debian's)")
    made.add_argument("--proxy", choices=("process", "vm", "both"), default="both",
                        help="hide: where the proxies run (oboro run --proxy; default both)")
    made.add_argument("--native", help=argparse.SUPPRESS)
    made.add_argument("--program", help=argparse.SUPPRESS)
    made.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    made.add_argument("--keep", action="store_true", help="leave the guests' consoles and states for a look")
    return made


def parse(arguments=None):
    made = parser()
    options = made.parse_args(arguments)
    if options.rounds is not None and options.rounds < 1:
        made.error("--rounds must be at least 1")
    named = PARTS[options.what]
    for word in (options.only or "").split(","):
        if word and not any(name.startswith(word) for name in named):
            made.error(f"--only {word}: nothing begins like that; there are {', '.join(named) or 'no parts'}")
    options.oboro = os.path.abspath(os.environ.get("OBORO") or os.path.join(TOP, "build", "release", "bin", "oboro"))
    options.hooks = "filter"
    return options


class Plan:
    """How much of everything."""

    def __init__(self, options):
        quick = options.quick
        self.boots = options.boots or (2 if quick else 6)
        self.rounds = options.rounds or (16 if quick else 48)
        self.many_boots = 1 if quick else 2  # the last ones
        self.many_rounds = 10 if quick else 15
        self.slice_ms = 30 if quick else 60
        self.tree_mb, self.parts = (20, 4) if quick else (200, 10)
        self.files, self.sockets = 100000, 10000
        self.arms = 3 if quick else 5
        self.only = [word for word in (options.only or "").split(",") if word]

    def wants(self, name):
        return not self.only or any(name.startswith(word) for word in self.only)
