"""Unit tests: the rows of bench/run trace."""

import unittest

from oborotools.bench import options, trace_table
from oborotools.bench.report import Report


def sample(boot, on, off=100, empty=100):
    return {"boot": boot, **{name: [{"p25": value, "cpu": value}] for name, value in (("on", on), ("off", off), ("empty", empty))}}


class TraceTableTest(unittest.TestCase):
    def rows(self, samples, extra=()):
        report = Report()
        trace_table.add(report, options.Plan(options.parse(["trace"])), samples, dict(extra))
        return [(row["what"], round(row["value"], 3), row["verdict"]) for row in report.rows]

    def test_what_was_not_measured_has_no_row(self):
        self.assertEqual(self.rows({}), [])

    def test_ratio_to_plain_qemu(self):
        self.assertEqual(self.rows({("getppid", False, False): [sample(1, 101), sample(2, 103), sample(3, 102)]}),
                         [("getppid (moves no data)", 1.02, "PASS")])
        self.assertEqual(self.rows({("getppid", False, False): [sample(1, 103)]}), [("getppid (moves no data)", 1.03, "over")])

    def test_with_many_managed_objects_a_boot_is_compared_with_itself(self):
        few = [sample(1, 100), sample(2, 200)]
        many = [sample(2, 202)]
        self.assertEqual(self.rows({("getppid", False, False): few, ("getppid", False, True): many})[1],
                         ("getppid (moves no data)", 1.01, "PASS"))

    def test_job_memory_and_arming(self):
        job = [{name: {"cpu_ns": value} for name, value in (("on", 106), ("off", 100), ("empty", 101))}]
        memory = {"before": {"on": 3072, "off": 1024}, "after": {"on": 67584, "off": 1024}, "supervisor": [2048, 1024]}
        self.assertEqual(self.rows({}, {"job": job, "memory": memory, "status": {}, "arm_ms": {"new": [900], "cached": [151]}}), [
            ("tar + gzip of 200 MB, not managed", 1.06, "over"), ("ours in QEMU, with all of these", 65, "over"),
            ("ours in QEMU, before", 2, None), ("oboro run, with all of these: resident", 2, None),
            ("oboro run: of it not from files", 1, None), ("kernel not seen before", 900, "PASS"), ("cached profile", 151, "over")])
        self.assertEqual(self.rows({}, {"memory": memory}), [], "plain QEMU on both sides")


if __name__ == "__main__":
    unittest.main()
