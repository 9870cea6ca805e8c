"""Guests that differ only in QEMU's plugin, and do the same in turn."""

import collections
import os
import re

from .. import guest, programs
from .machine import Machine, arguments_of, empty_plugin, quiet_cpu
from .options import HERE
from .samples import ORDERS

CLASSIFY = "/srv/secret/**=plan"
SECRET = ("/srv/secret/plan.txt", b"bench: the text of a classified file\n", 0o644)
MEMORY = "1G"
PROGRAM = os.path.join(HERE, "guest", "trace")
ROUNDS_OF_A_PROCESS = 5  # then a new process, because the place of its memory is luck


class Guests:
    """Guests that differ only in QEMU's plugin, and do the same in turn; and their samples."""

    def __init__(self, options, plan, work):
        self.options = options
        self.plan = plan
        self.work = work
        self.cpu = options.cpu if options.cpu is not None else quiet_cpu()
        self.built = guest.build("minimal", options.kernel)
        # The same addresses at every boot, so that two guests do not differ in these.
        self.append = self.built.append + " nokaslr"
        with open(options.program or programs.compile_static(PROGRAM), "rb") as handle:
            program = handle.read()
        files = [SECRET, *((path, program, 0o755) for path in ("/bin/bench", *(["/bin/waiter"] if options.what == "kvm" else [])))]
        self.initrd = os.path.join(work, "initrd")
        guest.write_initrd(self.built, guest.case_archive(self.built, files, [("exec /bin/bench\n", "poweroff")]), self.initrd)
        self.empty = empty_plugin(work) if options.what == "trace" else None
        # Hiding a service must not cost other processes an exit either.
        self.config = os.path.join(work, "hide.toml")
        with open(self.config, "w") as handle:
            handle.write('[hide.waiter]\nexe = "/bin/waiter"\nfiles = ["/var/secret/**"]\nnetwork = "remote"\n')
        self.boots = 0
        self.machines = {}
        self.samples = collections.defaultdict(list)  # key -> [sample]

    def oboro_command(self, state, initrd):
        engine = ["--engine", "kvm", "--qemu", self.options.qemu, "--config", self.config] if self.options.what == "kvm" else ["--engine", "tcg"]
        return [self.options.oboro, "run", *engine, "--kernel", self.built.kernel, "--initrd", initrd, "--append", self.append,
                "--cpus", "1", "--memory", MEMORY, "--classify", CLASSIFY, "--state", state, "--vm", "bench",
                "--", "-name", "bench,debug-threads=on", "-netdev", "user,id=net0", "-device", "virtio-net-pci,netdev=net0,romfile="]

    def boot_plain(self, name, command, plugin=None):
        """The very QEMU and the very options of the guest that Oboro runs, but for the plugin."""
        command = list(command)
        if "-plugin" in command:
            at = command.index("-plugin")
            del command[at:at + 2]
        if plugin:
            command += ["-plugin", plugin]
        size = int(MEMORY[:-1]) << 30
        ram = os.memfd_create("oboro-guest-ram")
        os.ftruncate(ram, size)
        command = [re.sub(r"/proc/self/fd/\d+", f"/proc/self/fd/{ram}", argument) for argument in command]
        machine = Machine(name, command, os.path.join(self.work, f"{name}{self.boots}.log"), (ram,))
        os.close(ram)
        return machine

    def boot(self):
        """Three guests: plain QEMU; with a plugin that does nothing; with Oboro."""
        self.boots += 1
        self.state = os.path.join(self.work, f"state{self.boots}")
        on = Machine("on", self.oboro_command(self.state, self.initrd), os.path.join(self.work, f"on{self.boots}.log"))
        self.machines = {"on": on}
        on.wait("ready", 60)
        on.find_emulator()
        command = arguments_of(on.pid)
        if self.options.null:
            on.kill()
            self.machines["on"] = self.boot_plain("on", command)
        if self.options.what == "trace":
            self.machines["empty"] = self.boot_plain("empty", command, None if self.options.null else self.empty)
        self.machines["off"] = self.boot_plain("off", command)
        for machine in self.machines.values():
            if machine is not on or self.options.null:
                machine.wait("ready", 60)
                machine.find_emulator()
        for machine in self.machines.values():
            machine.pin(self.cpu)
        return self.machines

    def slice(self, machine, benchmark, batches):
        before = machine.cpu_ns()
        answer = machine.ask(f"go {batches}", benchmark)
        used = machine.cpu_ns() - before
        numbers = [float(word) for word in answer[:-1]]
        phases = [dict(zip(("p25", "median", "min"), numbers[i:i + 3])) for i in range(0, len(numbers), 3)]
        # The guest's clock says how a call's time is shared between phases; the vCPU's how long it was.
        whole = sum(phase["p25"] for phase in phases)
        for phase in phases:
            phase["cpu"] = used / int(answer[-1]) * phase["p25"] / whole
        return phases

    def rounds(self, machines, benchmarks, rounds, many):
        """Slices in turn; the rounds begin with a different guest each."""
        for benchmark, managed in benchmarks:
            for first in range(0, rounds, ROUNDS_OF_A_PROCESS):
                batch_ns = [float(machine.ask(f"run {benchmark} {int(managed)} {self.plan.slice_ms // 2}", benchmark)[0])
                            for machine in machines.values()]
                batches = max(8, int(self.plan.slice_ms * 1e6 / min(batch_ns)))
                for number in range(first, min(first + ROUNDS_OF_A_PROCESS, rounds)):
                    pair = {}
                    for name in ORDERS[number % len(ORDERS)]:
                        if name in machines:
                            pair[name] = self.slice(machines[name], benchmark, batches)
                    self.samples[benchmark, managed, many].append({"boot": self.boots, **pair})
                for machine in machines.values():
                    machine.ask("end", "over")

    def job(self, machines):
        for machine in machines.values():
            machine.tell(f"tree {self.plan.tree_mb} {self.plan.parts}")
        for machine in machines.values():
            machine.wait("tree", 300)
        samples = []
        for part in range(self.plan.parts):
            pair = {}
            for name in ORDERS[part % len(ORDERS)]:
                before = machines[name].cpu_ns()
                seconds = float(machines[name].ask(f"job {part}", "job", 300)[0])
                pair[name] = {"seconds": seconds, "cpu_ns": machines[name].cpu_ns() - before}
            samples.append(pair)
        return samples

    def fill(self, machines):
        """Runs it in all guests at once, and on all CPUs. It comes before the measurement."""
        for machine in machines.values():
            machine.pin(*os.sched_getaffinity(0))
            machine.tell(f"fill {self.plan.files} {self.plan.sockets}")
        result = {}
        for name, machine in machines.items():
            seconds = machine.wait("fill", 300)
            result[name] = {"files_seconds": float(seconds[0]), "sockets_seconds": float(seconds[1])}
        for machine in machines.values():
            machine.pin(self.cpu)
        return result
