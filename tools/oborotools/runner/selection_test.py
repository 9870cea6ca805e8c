"""Unit tests: which cases run, on which kernels, in which order."""

import os
import tempfile
import unittest

from oborotools.cache import ToolError
from oborotools.case import Case
from oborotools.runner import options, selection


def case(name, **more):
    return Case(f"/cases/{name}.case", name, guest="minimal", **{"timeout": 60, **more})


class CollectTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.top = os.path.realpath(directory.name)
        for name in ("b.case", "a/d.case", "a/c.case", "a/notes", "empty/x.toml"):
            os.makedirs(os.path.dirname(os.path.join(self.top, name)), exist_ok=True)
            open(os.path.join(self.top, name), "w").close()

    def path(self, *names):
        return [os.path.join(self.top, name) for name in names]

    def test_directories_files_and_nothing_twice(self):
        self.assertEqual(selection.collect(self.path("b.case", "a", "a/c.case")), self.path("b.case", "a/c.case", "a/d.case"))

    def test_what_holds_no_case_is_refused(self):
        for name, words in (("empty", r"there is no \*\.case in "), ("a/notes", "neither a file"), ("nowhere", "neither a file")):
            with self.assertRaisesRegex(ToolError, words):
                selection.collect(self.path(name))

    def test_all_that_is_wrong_is_said_at_once(self):
        def read(file):
            if file != "good":
                raise ToolError(f"{file}: bad")
            return file
        self.assertEqual(selection.read_all(["good"], read), ["good"])
        with self.assertRaisesRegex(ToolError, "^x: bad\ny: bad$"):
            selection.read_all(["x", "good", "y"], read)


class PlanTest(unittest.TestCase):
    def plan(self, cases, *arguments):
        runs, skipped = selection.plan(options.parse([*arguments, "x"]), cases)
        return [(chosen.name, kernel) for chosen, kernel in runs], [(result.name, result.kernel, result.reason) for result in skipped]

    def test_the_longest_begin_first(self):
        self.assertEqual(self.plan([case("short"), case("long", timeout=120)]), ([("long", "6.1"), ("short", "6.1")], []))

    def test_the_kernel_of_a_case_where_none_was_asked_for(self):
        cases = [case("any"), case("new", kernels=["6.18", "7.3"]), case("both", kernels=["6.18", "6.1"])]
        self.assertEqual(self.plan(cases)[0], [("any", "6.1"), ("new", "6.18"), ("both", "6.1")])

    def test_one_kernel_after_the_other(self):
        runs, skipped = self.plan([case("a"), case("b", kernels=["6.12"])], "--kernel", "6.12,6.1")
        self.assertEqual(runs, [("a", "6.12"), ("b", "6.12"), ("a", "6.1")])
        self.assertEqual(skipped, [("b", "6.1", "only on kernel 6.12")])

    def test_engines(self):
        cases = [case("any"), case("kvm", engine="kvm"), case("tcg", engine="tcg")]
        why = "only on engine kvm (--nested)"
        for arguments in ((), ("--engine", "tcg")):
            self.assertEqual(self.plan(cases, *arguments), ([("any", "6.1"), ("tcg", "6.1")], [("kvm", "6.1", why)]))
        self.assertEqual(self.plan(cases, "--nested"),
                         ([("any", "6.1"), ("kvm", "6.1")], [("tcg", "6.1", "only on engine tcg (--nested)")]))


class OutsideTest(unittest.TestCase):
    def test_what_a_nested_host_has_to_be_given(self):
        inside = os.path.join(options.TOP, "tests", "guest", "cases", "x.case")
        self.assertEqual(selection.outside([inside]), set())
        self.assertEqual(selection.outside([inside, "/home/me/a.case", "/home/me/b.case"]), {"/home/me"})
        for directory in ("/tmp", "/var/tmp", ""):
            with self.assertRaisesRegex(ToolError, "of its own"):
                selection.outside([f"{directory}/a.case"])


if __name__ == "__main__":
    unittest.main()
