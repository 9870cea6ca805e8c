"""Unit tests: the command line of bench/run, and how much is measured."""

import contextlib
import io
import os
import unittest
from unittest import mock

from oborotools.bench import main, options
from oborotools.cache import ToolError


class ParseTest(unittest.TestCase):
    def test_defaults(self):
        found = options.parse(["kvm"])
        self.assertEqual((found.kernel, found.qemu, found.proxy, found.hooks, found.inside), ("6.1", "/usr/bin/qemu-system-x86_64", "both", "filter", False))

    def test_what_cannot_be(self):
        for words in ([], ["speed"], ["trace", "--rounds", "0"], ["trace", "--only", "lat_,send"], ["hide", "--only", "getppid"], ["hide", "--proxy", "none"]):
            with contextlib.redirect_stderr(io.StringIO()), self.assertRaises(SystemExit) as caught:
                options.parse(words)
            self.assertEqual(caught.exception.code, 2)

    def test_a_program_that_is_not_there(self):
        with mock.patch.dict(os.environ, OBORO="/nowhere/oboro"), self.assertRaisesRegex(ToolError, "/nowhere/oboro: not there"):
            main.main(["trace"])


class PlanTest(unittest.TestCase):
    def test_quick_is_less_of_everything(self):
        quick, full = (options.Plan(options.parse(["trace", *words])) for words in (["--quick"], []))
        for name in ("boots", "rounds", "many_boots", "many_rounds", "slice_ms", "tree_mb", "parts", "arms"):
            self.assertLess(getattr(quick, name), getattr(full, name), name)

    def test_what_was_asked_for(self):
        plan = options.Plan(options.parse(["trace", "--boots", "1", "--rounds", "3", "--only", "lat_,job"]))
        self.assertEqual((plan.boots, plan.rounds), (1, 3))
        self.assertEqual([name for name in ("lat_tcp", "job", "getppid", "many") if plan.wants(name)], ["lat_tcp", "job"])
        self.assertTrue(options.Plan(options.parse(["trace"])).wants("getppid"))


if __name__ == "__main__":
    unittest.main()
