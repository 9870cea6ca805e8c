"""Statistics of the samples of guests that took turns."""

import collections
import math
import os
import platform
import re
import statistics

# The order in each round: the rounds begin with a different guest each.
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


def statistic_of(benchmark):
    """One process in short batches: the lower quartile by the guest's clock, which no interruption reaches. Two processes:
    the vCPU's CPU time, as a batch is too long to be spared."""
    return "cpu" if benchmark in ("lat_unix", "lat_udp", "lat_tcp", "lat_connect") else "p25"


def ratio(pair, benchmark, phase, name="on"):
    statistic = statistic_of(benchmark)
    return pair[name][phase][statistic] / pair["off"][phase][statistic]


def ns(samples, name, benchmark, phase):
    return statistics.median(pair[name][phase][statistic_of(benchmark)] for pair in samples)


def paired_ratio(over, under):
    """The median of the ratios of pairs. It is infinite where one of a pair got nothing done."""
    return statistics.median(a / b if b else math.inf if a else math.nan for a, b in zip(over, under, strict=True))
