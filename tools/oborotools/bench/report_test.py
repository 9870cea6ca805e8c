"""Unit tests: tables, limits and the exit status."""

import contextlib
import io
import json
import os
import tempfile
import unittest

from oborotools.bench import hide_report, options
from oborotools.bench.report import Report


def printed(report):
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        over = report.print()
    return text.getvalue().splitlines(), over


class ReportTest(unittest.TestCase):
    def test_a_limit_may_be_reached_but_not_passed(self):
        report = Report()
        report.add("s", "at", 1.02, 1.02)
        report.add("s", "over", 1.02, 1.021)
        report.add("s", "free", None, 99)
        self.assertEqual([row["verdict"] for row in report.rows], ["PASS", "over", None])
        lines, over = printed(report)
        self.assertEqual([row["what"] for row in over], ["over"])
        self.assertEqual(lines[-1], "1 within the limit, 1 over")

    def test_table(self):
        report = Report()
        report.add("times", "a call", 1.15, 1.0314, 1.02, 1.04, 3.64, empty=1.01)
        report.add("memory", "ours", 64, 3.25, unit="MiB")
        report.add("memory", "theirs", None, 250.7, unit="MiB")
        self.assertEqual(printed(report)[0], [
            "", "times", "                                          at most  measured       middle half  empty  paper",
            "  a call                                     1.15     1.031    1.020 .. 1.040  1.010   3.64  PASS",
            "", "memory", "                                          at most  measured       middle half  empty  paper",
            "  ours                                     64 MiB   3.2 MiB                                  PASS",
            "  theirs                                            251 MiB",
            "", "2 within the limit, 0 over"])


class HideReportTest(unittest.TestCase):
    def test_goals_in_both_directions_and_what_is_measured_is_kept_at_once(self):
        with tempfile.TemporaryDirectory() as top:
            name = os.path.join(top, "json")
            report = hide_report.Report(options.parse(["hide", "--json", name, "--quick"]))
            report.add("vm", "at least", 96.9, "%", 97, True)
            report.add("vm", "at most", 1.5, "x", 1.5, False)
            report.samples["a"] = [1]
            report.add("vm", "nothing got done", float("inf"), "x", 1, False)
            self.assertEqual(report.over(), 2)
            with open(name) as handle:
                written = json.load(handle)
            self.assertEqual([row["value"] for row in written["rows"]], [96.9, 1.5, None])
            self.assertEqual(written["samples"], {"a": [1]})
            lines, _ = printed(report)
            self.assertIn(" >= 97 ", lines[4])
            self.assertIn(" OVER", lines[4])
            self.assertIn(" ok ", lines[5])
            self.assertIn("1 within their goal, 2 not.", lines[7])


if __name__ == "__main__":
    unittest.main()
