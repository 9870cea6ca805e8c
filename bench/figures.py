"""What is made of the samples of guests that took turns."""

import collections
import os
import platform
import re
import statistics

# Who comes first, in turn: the rounds begin with a different guest each.
ORDERS = [("off", "empty", "on"), ("on", "off", "empty"), ("empty", "on", "off")]


def spread(values):
    """Median, and the middle half's ends."""
    ordered = sorted(values)
    if len(ordered) < 4:
        return statistics.median(ordered), ordered[0], ordered[-1]
    quarters = statistics.quantiles(ordered, n=4, method="inclusive")
    return statistics.median(ordered), quarters[0], quarters[2]


def by_boots(samples, value):
    """Median of the boots' medians, and how far the boots' medians are apart (the middle half of them)."""
    boots = collections.defaultdict(list)
    for pair in samples:
        boots[pair["boot"]].append(value(pair))
    return spread([statistics.median(values) for values in boots.values()])


def this_host():
    with open("/proc/cpuinfo") as handle:
        model = re.search(r"^model name\s*: (.*)", handle.read(), re.M)
    return f"{model[1] if model else platform.machine()}, {len(os.sched_getaffinity(0))} CPUs, Linux {platform.release()}"
