"""bench/run trace: the cost of tracing on TCG."""

import datetime
import json
import os
import platform
import shutil
import subprocess
import tempfile
import time

from .. import cache, guest
from ..cache import ToolError, say
from . import trace_table
from .guests import SECRET, Guests
from .machine import oboro_status
from .options import Plan
from .report import Report
from .tables import ROWS


def arm(guests, fresh):
    """One boot; milliseconds from the first user-mode instruction to hooks armed, and whether the profile was cached."""
    shadow = os.path.join(guests.work, "cache")
    os.makedirs(shadow, exist_ok=True)
    for name in ("qemu", "kernels"):
        if not os.path.lexists(os.path.join(shadow, name)):
            os.symlink(cache.path(name), os.path.join(shadow, name))
    if fresh:
        for name in os.listdir(shadow):
            if name not in ("qemu", "kernels"):
                shutil.rmtree(os.path.join(shadow, name))
    initrd = os.path.join(guests.work, "initrd-arm")
    if not os.path.exists(initrd):
        guest.write_initrd(guests.built, guest.case_archive(guests.built, [SECRET], [("true\n", "poweroff")]), initrd)
    state = tempfile.mkdtemp(prefix="arm.", dir=guests.work)
    with open(os.path.join(guests.work, "arm.log"), "ab") as log:
        done = subprocess.run(["nice", "-n", "-10", *guests.oboro_command(state, initrd)], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                              env=dict(os.environ, OBORO_CACHE=shadow), timeout=60)
    if done.returncode != 0:
        raise ToolError(f"oboro run ended with status {done.returncode} ({log.name})")
    status = oboro_status(guests.options.oboro, state)
    shutil.rmtree(state)
    if status["profile"] != ("new" if fresh else "cached"):
        raise ToolError(f"the kernel's profile was to be {'new' if fresh else 'cached'}, but was {status['profile']}")
    return status["arm_ms"]


def measure(options):
    plan = Plan(options)
    extra = {}
    began = time.monotonic()
    work = tempfile.mkdtemp(prefix="oboro-bench.")
    guests = None
    try:
        guests = Guests(options, plan, work)
        if plan.wants("arm") and not options.null:
            with cache.progress("arming"):
                extra["arm_ms"] = {"new": [arm(guests, True) for _ in range(plan.arms)],
                                   "cached": [arm(guests, False) for _ in range(plan.arms)]}
        wanted = [key for key in dict.fromkeys((row[1], row[3]) for row in ROWS) if plan.wants(key[0])]
        many = plan.wants("many")
        if wanted or many or plan.wants("job"):
            for boot in range(plan.boots):
                with cache.progress(f"boot {boot + 1} of {plan.boots}"):
                    machines = guests.boot()
                with_many = many and boot >= plan.boots - plan.many_boots
                rounds = plan.rounds // plan.boots + (boot < plan.rounds % plan.boots)
                with cache.progress("slices"):
                    guests.rounds(machines, wanted, max(rounds, plan.many_rounds) if with_many else rounds, False)
                if boot == 0 and plan.wants("job"):
                    with cache.progress("tar and gzip"):
                        extra["job"] = guests.job(machines)
                if with_many:
                    before = {name: machine.memory() for name, machine in machines.items()}
                    with cache.progress(f"{plan.files} files and {plan.sockets} sockets become managed"):
                        extra["fill"] = guests.fill(machines)
                    with cache.progress("slices with many managed objects"):
                        guests.rounds(machines, wanted, plan.many_rounds, True)
                    after = {name: machine.memory() for name, machine in machines.items()}
                    extra["memory"] = {"before": before, "after": after, "supervisor": machines["on"].supervisor_memory()}
                    if not options.null:
                        extra["status"] = oboro_status(options.oboro, guests.state)
                for machine in machines.values():
                    machine.quit()
    except BaseException:
        say(f"logs: {work}")
        raise
    finally:
        for machine in guests.machines.values() if guests else ():
            machine.kill()
    if options.keep:
        say(f"logs: {work}")
    else:
        shutil.rmtree(work)

    report = Report()
    trace_table.add(report, plan, guests.samples, extra)
    print(f"Linux {guests.built.release}, one vCPU on CPU {guests.cpu}, {plan.rounds} rounds of {plan.slice_ms} ms in {plan.boots} "
          f"boot(s), {time.monotonic() - began:.0f} s" + (", PLAIN QEMU ON BOTH SIDES" if options.null else ""))
    over = report.print()
    if options.json:
        samples = [{"benchmark": name, "managed": managed, "many": many, "samples": pairs}
                   for (name, managed, many), pairs in guests.samples.items()]
        with open(options.json, "w") as handle:
            json.dump({"when": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "host": platform.release(),
                       "kernel": guests.built.release, "null": options.null, "quick": options.quick, "rows": report.rows, **extra,
                       "samples": samples}, handle, indent=1)
            handle.write("\n")
    return 1 if over else 0
