"""The table of bench/run hide."""

import datetime
import json
import math
import os

from .hide_guests import MEMORY
from .samples import this_host


class Report:
    """Rows of the table, and all samples that they come from. A measured row is kept, whatever happens to the rest."""

    def __init__(self, options):
        self.file, self.rows, self.samples = options.json, [], {}
        self.about = {"when": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "host": this_host(),
                      "load": os.getloadavg()[0], "proxy": options.proxy, "quick": options.quick}

    def add(self, proxy, what, value, unit, limit, at_least, paper="-", detail=""):
        good = value >= limit if at_least else value <= limit
        self.rows.append({"proxy": proxy, "what": what, "value": value, "unit": unit, "limit": limit, "at_least": at_least,
                          "paper": paper, "detail": detail, "within": good})
        self.write()

    def write(self):
        if not self.file:
            return
        rows = [dict(row, value=row["value"] if math.isfinite(row["value"]) else None) for row in self.rows]
        with open(self.file, "w") as handle:
            json.dump({**self.about, "rows": rows, "samples": self.samples}, handle, indent=1)

    def over(self):
        return sum(not row["within"] for row in self.rows)

    def print(self):
        about = self.about
        print(f"guest: Linux {about.get('kernel', '?')}, QEMU {about.get('qemu', '?')} (TCG), one vCPU, {MEMORY}; --proxy {about['proxy']}")
        print(f"host: {about['host']}, load {about['load']:.1f} at the beginning; {about['when']}, {about.get('seconds', '?')} s"
              + (", --quick\n" if about["quick"] else "\n"))
        print(f"{'proxy':7} {'what':66} {'measured':>10} {'goal':>9}  {'paper':20}")
        for row in self.rows:
            goal = (">= " if row["at_least"] else "<= ") + f"{row['limit']:g}"
            print(f"{row['proxy']:7} {row['what']:66} {row['value']:8.{1 if row['unit'] == '%' else 3}f} {row['unit']:1} {goal:>9}  "
                  f"{row['paper']:20} {'ok  ' if row['within'] else 'OVER'}  {row['detail']}")
        print(f"{len(self.rows) - self.over()} within their goal, {self.over()} not. x: times as much, as long, as often.")
        print("park, block: how the service waits; unhidden: the same program, not hidden; on: a hidden service waits; off: plain QEMU,\n"
              "where it waits unhidden; empty: likewise, and QEMU has a plugin that does nothing. Goals are Oboro's own (bench/README.md).")
