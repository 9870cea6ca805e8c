"""Unit tests: the command line of tests/guest/run."""

import contextlib
import io
import unittest

from oborotools.runner import options


class ParseTest(unittest.TestCase):
    def refused(self, *arguments):
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors), self.assertRaises(SystemExit) as caught:
            options.parse(arguments)
        self.assertEqual(caught.exception.code, 2)
        return errors.getvalue()

    def test_defaults(self):
        found = options.parse(["x.case"])
        self.assertEqual((found.jobs, found.cpus, found.timeout_factor, found.proxy, found.keep), (2, 1, 1.0, "process", False))
        self.assertIsNone(found.engine)
        self.assertIsNone(found.kernel)

    def test_nested_is_on_kvm_with_the_hosts_qemu(self):
        found = options.parse(["--nested", "x.case"])
        self.assertEqual((found.engine, found.qemu), ("kvm", "/usr/bin/qemu-system-x86_64"))
        self.assertEqual(options.parse(["--nested", "--qemu", "/q", "--engine", "auto", "x"]).qemu, "/q")

    def test_what_cannot_be(self):
        self.assertIn("which cases?", self.refused())
        self.assertIn("--proxy", self.refused("--proxy", "elsewhere", "x"))
        self.assertIn("--jobs", self.refused("--jobs", "many", "x"))

    def test_the_program_under_test(self):
        self.assertEqual(options.program_under_test({"OBORO": "/a/oboro"}), "/a/oboro")
        self.assertTrue(options.program_under_test({}).endswith("/build/release/bin/oboro"))


if __name__ == "__main__":
    unittest.main()
