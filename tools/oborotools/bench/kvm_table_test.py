"""Unit tests: what is reported of counted exits."""

import os
import tempfile
import unittest

from oborotools.bench import exits, kvm_table
from oborotools.bench.report import Report

COUNT = {"calls": 10000, "exits": 0, "seconds": 1.0, "waiters": 0.0}


class ExitsTest(unittest.TestCase):
    def verdicts(self, **count):
        report = Report()
        kvm_table.add_exits(report, {("getppid", False, False): {**COUNT, **count}}, [])
        return report.rows[0]["verdict"], report.rows[0]["value"]

    def test_what_leaves_the_guest_is_over(self):
        self.assertEqual(self.verdicts(), ("PASS", 0))
        self.assertEqual(self.verdicts(exits=10), ("PASS", 0.001))
        self.assertEqual(self.verdicts(exits=11), ("over", 0.0011))

    def test_what_the_service_that_waits_does_is_not_counted(self):
        self.assertEqual(self.verdicts(calls=1000, exits=50, waiters=50), ("PASS", 0))
        self.assertEqual(self.verdicts(calls=1000, exits=62, waiters=50), ("PASS", 0.012))
        self.assertEqual(self.verdicts(calls=1000, exits=63, waiters=50), ("over", 0.013))
        self.assertEqual(self.verdicts(exits=1, waiters=5), ("PASS", 0), "never less than nothing")

    def test_managed_calls_may_leave(self):
        report = Report()
        both = {("tcp", True, False): {**COUNT, "exits": 10000}, ("tcp", False, True): {**COUNT, "exits": 10000}}
        kvm_table.add_exits(report, both, [3.5, 4])
        self.assertEqual([(row["what"], row["verdict"]) for row in report.rows],
                         [("TCP send, recv, managed", "PASS"), ("TCP send, recv", "over"), ("exits a second", None),
                          ("exits a second, with the managed files", None)])
        self.assertEqual(kvm_table.on_hardware(report.rows)[1].split(), "TCP send, recv, managed 1.00 exits: + 1.0 to 2.0 us a call".split())
        self.assertEqual(len(kvm_table.on_hardware(report.rows)), 3)

    def test_the_slope_between_a_short_and_a_long_slice(self):
        with tempfile.TemporaryDirectory() as state:
            class Machine:
                """Each slice costs 5 exits, and each batch of 100 calls 2."""
                asked = []

                def ask(self, command, word):
                    self.asked.append(command)
                    batches = int(command.split()[1]) if command.startswith("go") else 0
                    with open(os.path.join(state, "ring"), "rb") as handle:
                        before = int.from_bytes(handle.read()[exits.STOPS_IN_RING:], "little")
                    write(before + (5 + 2 * batches if batches else 0))
                    return [str(100 * batches)]

            def write(number):
                with open(os.path.join(state, "ring"), "wb") as handle:
                    handle.write(bytes(exits.STOPS_IN_RING) + number.to_bytes(8, "little"))

            write(1000)
            found = exits.exits_of(Machine(), state, "stat", False, 0)
            self.assertEqual((found["calls"], found["exits"]), (10000, 200))
            self.assertEqual(exits.exits_of(Machine(), state, "tcp", True, 0)["calls"], 20000)
            self.assertEqual(Machine.asked[:4], ["run stat 0 50", "go 10", "go 110", "end"])


class SystemCallsTest(unittest.TestCase):
    def rows(self, trace, stopped):
        report = Report()
        kvm_table.add_system_calls(report, kvm_table.calls_in(trace), stopped)
        return report.rows[0]

    def test_another_call_behind_a_hook(self):
        run, other = "ioctl(0x10, 0xae80, 0) = 0\n", "write(3, ...) = 8\n"
        self.assertEqual(self.rows([run] * 11, 10)["verdict"], "PASS")
        self.assertEqual(self.rows([run] * 6 + [other] + [run] * 5, 9)["verdict"], "PASS")
        row = self.rows([run, other] * 10, 10)
        self.assertEqual((row["verdict"], row["value"]), ("over", 1))
        self.assertEqual(row["seen"], {"KVM_RUN": 10, "write": 10})


class HandlersTest(unittest.TestCase):
    def test_inside_and_on_this_cpu(self):
        report = Report()
        kvm_table.add_handlers(report, "x\nhandler cycles: 12 900 1000 1600\n", "send=1400;recv=1501;")
        self.assertEqual([(row["what"], row["value"], row["verdict"]) for row in report.rows],
                         [("in the nested host, 12 stops", 1000, "PASS"), ("on this CPU: send", 1400, "PASS"),
                          ("on this CPU: recv", 1501, "over")])
        report = Report()
        kvm_table.add_handlers(report, "", None)
        self.assertEqual(report.rows, [])


if __name__ == "__main__":
    unittest.main()
