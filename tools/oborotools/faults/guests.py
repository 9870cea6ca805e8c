"""The same with a real guest: it copies a classified file again and again, until QEMU or oboro is killed; then it boots again from its disk."""

import os
import random
import re
import tempfile

from .. import case as cases
from .. import guest
from ..runner import console, expectations, options
from ..runner.namespaces import Namespaces
from ..runner.run import Run
from . import invariants

CASE = """\
NAME      {who} is killed after {events} events
FILE      /srv/secret/plan
CLASSIFY  /srv/secret/**=plan
RUN       date >/var/clean
RUN       sync
RUN       i=0; while [ $i -lt {copies} ]; do cp /srv/secret/plan /var/new; mv /var/new /var/copy$i; i=$((i+1)); [ $((i % 4)) != 0 ] || sync; done
REBOOT    kill {who} {events}
RUN       for f in /var/copy* /var/new; do if grep -q "text of" $f 2>/dev/null; then echo "have $f"; fi; done
RUN       cp /srv/secret/plan /var/last
RUN       echo done
OUTPUT    ^done$
EXPECT    managed file path=/srv/secret/plan
EXPECT    managed file path=/var/last
REJECT    managed file path=/var/clean
TIMEOUT   180
"""
COPIES, FIRST, LAST = 60, 5, 200  # the events that it makes begin with some of the boot


class Killed(Run):
    def evaluate(self):
        wrong = super().evaluate()
        oboro = expectations.Oboro(self.options.oboro, self.state, self.directory)
        names = {name for entry in oboro.records("files.jsonl", "list", "files", "--json") for name in entry.get("paths", [])}
        having = re.findall(r"^have (\S+)$", console.output(console.text_of(self.console)), re.M)
        wrong += [f"{name} is on the disk with content of a classified file, and bears no label" for name in having if name not in names]
        journal = oboro.records("events.jsonl", "events", "--json")
        return wrong + invariants.of_numbers(journal) + invariants.of_checkpoint(journal)


def draw(seed, number):
    dice = random.Random(f"{seed}:guest:{number}")
    return dice.choice(("qemu", "run")), dice.randint(FIRST, LAST)


def run(build, seed, numbers, report):
    """Runs these points. report(number, text, what does not hold) is called with each."""
    chosen = options.parse(["--engine", "tcg", "--timeout-factor", "3", "none"])
    chosen.oboro = os.path.join(build, "bin", "oboro")
    guest.qemu_program("qemu-system-x86_64")
    chosen.shared_network = Namespaces.possible()
    with tempfile.TemporaryDirectory(prefix="oboro-faults-") as work:
        chosen.work = work
        for number in numbers:
            who, events = draw(seed, number)
            file = os.path.join(work, f"killed{number}.case")
            with open(file, "w") as handle:
                handle.write(CASE.format(who=who, events=events, copies=COPIES))
            case = cases.read(file)
            result = Killed(chosen, case, options.DEFAULT_KERNEL, 12000 + (os.getpid() * 7 + number) % 2000 * 10).go()
            report(number, case.name, result.failures)
