"""Unit tests: the printed results, and the closing line that ./check reads."""

import json
import os
import tempfile
import types
import unittest
from contextlib import redirect_stdout
from io import StringIO

from oborotools.runner import board, results, summary
from oborotools.runner.results import Result

PASSED = Result("good", "/c/good.case", "6.1", seconds=4.25)
AGAIN = Result("twice", "/c/twice.case", "6.1", again="not over", logs="/tmp/x")
FAILED = Result("bad", "/c/bad.case", "6.1", "failed", failures=["line 3: expected  leak\ncame nearest  nothing", "note: status 1"], logs="/tmp/y")
SKIPPED = Result("other", "/c/other.case", "6.1", "skipped", "only on kernel 7.3")


class SummaryTest(unittest.TestCase):
    def test_closing_line(self):
        self.assertEqual(summary.closing([PASSED, FAILED, SKIPPED, PASSED]), ["2 passed, 1 failed, 1 skipped"])
        self.assertEqual(summary.closing([]), ["0 passed, 0 failed, 0 skipped"])
        self.assertEqual(summary.closing([AGAIN]), ["guests that did not boot, and were booted again: 1", "1 passed, 0 failed, 0 skipped"])

    def test_exit_status(self):
        self.assertEqual(summary.exit_status([PASSED, SKIPPED]), 0)
        self.assertEqual(summary.exit_status([PASSED, FAILED]), 1)

    def test_finish_writes_the_results_and_leaves_logs_only(self):
        with tempfile.TemporaryDirectory() as top:
            for left in ((), ("logs",)):
                work = os.path.join(top, "work")
                os.makedirs(work)
                for name in ("report.0", "report.12", *left):
                    open(os.path.join(work, name), "w").close()
                options = types.SimpleNamespace(work=work, json=os.path.join(top, "json"))
                printed = StringIO()
                with redirect_stdout(printed):
                    self.assertEqual(summary.finish(options, [PASSED, FAILED]), 1)
                self.assertEqual(printed.getvalue(), "1 passed, 1 failed, 0 skipped\n")
                with open(options.json) as handle:
                    written = json.load(handle)
                self.assertEqual((written["passed"], written["failed"], written["skipped"]), (1, 1, 0))
                self.assertEqual(Result(**written["cases"][1]), FAILED)
                self.assertEqual(os.path.exists(work) and os.listdir(work), list(left) if left else False)


class LinesTest(unittest.TestCase):
    def test_lines(self):
        self.assertEqual(board.lines(PASSED), ["ok     /c/good.case: good (kernel 6.1, 4.2 s)"])
        self.assertEqual(board.lines(SKIPPED), ["skip   /c/other.case: other (only on kernel 7.3)"])
        self.assertEqual(board.lines(FAILED), [
            "FAILED /c/bad.case: bad (kernel 6.1, 0.0 s)", "       line 3: expected  leak", "         came nearest  nothing",
            "       note: status 1", "       logs: /tmp/y/ (console.log, oboro.log, events.jsonl, command)"])
        self.assertEqual(board.lines(AGAIN)[1], "       booted again, as no program had run: not over")


class ReportTest(unittest.TestCase):
    def test_there_and_back_but_for_a_line_that_is_being_written(self):
        text = PASSED.line() + FAILED.line()
        self.assertEqual(results.from_lines(text), [PASSED, FAILED])
        self.assertEqual(results.from_lines(text[:-5]), [PASSED])
        self.assertEqual(results.from_lines(""), [])


if __name__ == "__main__":
    unittest.main()
