"""bench/run kvm: how often a vCPU leaves a guest on KVM, and the cost of that, in a nested host."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

from .. import cache, guest, nested, programs
from ..cache import ToolError
from . import kvm_table
from .exits import exits_of, start_waiter, stops
from .guests import PROGRAM as GUEST_PROGRAM
from .guests import Guests
from .options import PROGRAM, Plan
from .report import Report
from .tables import EXITS, KVM_TIMES


def system_calls(guests, on, work):
    """The system calls of the vCPU's thread while a managed process sends and receives; and how many stops there were."""
    on.ask("run unix-datagram 1 50", "unix-datagram")
    trace = os.path.join(work, "strace")
    tracer = subprocess.Popen(["strace", "-p", str(on.thread), "-o", trace, "-e", "raw=ioctl"], stderr=subprocess.DEVNULL)
    time.sleep(1)
    before = stops(guests.state)
    on.ask("go 20", "unix-datagram", 300)
    stopped = stops(guests.state) - before
    tracer.terminate()
    tracer.wait()
    on.ask("end", "over")
    with open(trace) as handle:
        return kvm_table.calls_in(handle), stopped


def inside(options):
    """In the nested host."""
    plan = Plan(options)
    plan.only, plan.many_boots = [], 0
    work = tempfile.mkdtemp(prefix="oboro-bench.")
    os.environ["OBORO_KVM_PROFILE"] = "1"
    guests = Guests(options, plan, work)
    exits, waiters = {}, []
    try:
        machines = guests.boot()
        on = machines["on"]
        waiters.append(start_waiter(guests, on))
        for _, benchmark, managed, _ in EXITS:
            exits[benchmark, managed, False] = exits_of(on, guests.state, benchmark, managed, waiters[0])
        on.ask("over", "over")
        if not options.counts:
            guests.rounds(machines, list(dict.fromkeys((row[1], row[3]) for row in KVM_TIMES)), plan.rounds // 2, False)
        calls, stopped = system_calls(guests, on, work)
        on.tell("fill 10000 0")
        on.wait("fill", 600)
        waiters.append(start_waiter(guests, on))
        for _, benchmark, managed, _ in EXITS:
            if not managed:
                exits[benchmark, managed, True] = exits_of(on, guests.state, benchmark, managed, waiters[1])
        on.ask("over", "over")
        for machine in machines.values():
            machine.quit()
    finally:
        for machine in guests.machines.values():
            machine.kill()
    report = Report()
    kvm_table.add_exits(report, exits, waiters)
    kvm_table.add_system_calls(report, calls, stopped)
    with open(on.log.name, errors="replace") as handle:
        kvm_table.add_handlers(report, handle.read(), options.native)
    kvm_table.add_times(report, guests.samples)
    shutil.rmtree(work, ignore_errors=True)
    print(f"Linux {guests.built.release} on KVM in a nested host; {options.qemu}; hooks: {options.hooks}")
    over = report.print()
    print("\n" + "\n".join(kvm_table.on_hardware(report.rows)))
    if options.json:
        with open(options.json, "w") as handle:
            json.dump({"kernel": guests.built.release, "qemu": options.qemu, "rows": report.rows}, handle, indent=1)
            handle.write("\n")
    return 1 if over else 0


def measure(options):
    """Prepares the files that the nested host cannot make, and runs this program there."""
    guest.build("minimal", options.kernel)
    program = programs.compile_static(GUEST_PROGRAM)
    share = tempfile.mkdtemp(prefix="oboro-bench-kvm.")
    # The handlers alone, outside of any emulation.
    native = cache.run([os.path.join(os.path.dirname(options.oboro), "..", "bench", "handlers")])
    native = native.strip().replace("\t", "=").replace("\n", ";")
    words = [PROGRAM, "kvm", "--inside", "--program", program, "--native", native, "--json", os.path.join(share, "result.json"),
             "--kernel", options.kernel, "--qemu", options.qemu, *(["--quick"] if options.quick else []),
             *(["--counts"] if options.counts else [])]
    command = f"OBORO={options.oboro} {shlex.join(words)} >{share}/report.txt 2>{share}/errors.txt"
    with cache.progress("in the nested host"):
        status = nested.run(command, share, 3600, output=os.path.join(share, "console.txt"))
    with open(os.path.join(share, "report.txt")) as handle:
        sys.stdout.write(handle.read())
    if status == 2 or not os.path.exists(os.path.join(share, "result.json")):
        with open(os.path.join(share, "errors.txt")) as handle:
            raise ToolError((handle.read().strip().splitlines() or ["nothing was measured"])[-1] + f" (logs: {share})")
    if options.json:
        shutil.copy(os.path.join(share, "result.json"), options.json)
    shutil.rmtree(share)
    return status
