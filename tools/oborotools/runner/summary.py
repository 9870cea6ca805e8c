"""The summary of all results."""

import dataclasses
import json
import os
import re

OUTCOMES = ("passed", "failed", "skipped")


def count(results):
    return {outcome: sum(result.outcome == outcome for result in results) for outcome in OUTCOMES}


def closing(results):
    """The last lines; ./check reads them."""
    found = []
    if again := sum(bool(result.again) for result in results):
        found.append(f"guests that did not boot, and were booted again: {again}")
    return [*found, ", ".join(f"{number} {outcome}" for outcome, number in count(results).items())]


def exit_status(results):
    return 1 if count(results)["failed"] else 0


def finish(options, results):
    """Removes empty directories, writes and prints. Returns the exit status."""
    for name in os.listdir(options.work):
        if re.fullmatch(r"report\.\d+", name):
            os.unlink(os.path.join(options.work, name))
    if not os.listdir(options.work):
        os.rmdir(options.work)
    if options.json:
        with open(options.json, "w") as handle:
            json.dump({**count(results), "cases": [dataclasses.asdict(result) for result in results]}, handle, indent=2)
            handle.write("\n")
    for line in closing(results):
        print(line)
    return exit_status(results)
