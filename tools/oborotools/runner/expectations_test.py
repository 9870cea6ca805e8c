"""Unit tests: comparing records with those that a case expects."""

import json
import os
import stat
import tempfile
import unittest

from oborotools import case as cases
from oborotools.runner import expectations
from oborotools.runner.results import CaseFailed

EVENTS = [{"kind": "leak", "labels": ["plan"], "syscall": "sendto", "subject": {"pid": 7, "comm": "nc"}},
          {"kind": "incomplete", "detail": "a channel"}]
ENTRIES = [{"type": "file", "path": "/tmp/x", "labels": ["plan"]}]
PROGRAM = """#!/bin/sh
for state; do :; done
case $1 in
events) cat "$state/said.events" ;;
list) cat "$state/said.list"; exit 4 ;;
explain) echo "$2 came from /srv" ;;
status) cat "$state/said.status"; exit 3 ;;
esac
"""


class JournalTest(unittest.TestCase):
    def test_what_is_on_its_way_is_waited_for(self):
        with tempfile.TemporaryDirectory() as top:
            program = os.path.join(top, "oboro")
            with open(program, "w") as handle:  # the third time nothing waits any more
                handle.write(f'#!/bin/sh\necho >>{top}/asked\n[ $(wc -l <{top}/asked) -ge 3 ] && echo {{}} || echo \'{{"waiting":2}}\'\n')
            os.chmod(program, stat.S_IRWXU)
            expectations.Oboro(program, top, top).wait_for_journal(60)
            with open(os.path.join(top, "asked")) as handle:
                self.assertEqual(len(handle.readlines()), 3)


class EvaluateTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.top = directory.name
        self.program = self.write("oboro", PROGRAM)
        os.chmod(self.program, stat.S_IRWXU)
        self.write("said.events", "".join(json.dumps(event) + "\n" for event in EVENTS))
        self.write("said.list", "".join(json.dumps(entry) + "\n" for entry in ENTRIES))
        self.write("said.status", '{"complete": true}')

    def write(self, name, text):
        path = os.path.join(self.top, name)
        with open(path, "w") as handle:
            handle.write(text)
        return path

    def failures(self, text, output=""):
        case = cases.read(self.write("x.case", "NAME n\nRUN r\n" + text))
        oboro = expectations.Oboro(self.program, self.top, self.top)
        return expectations.evaluate(case, oboro, output)

    def test_all_holds(self):
        self.assertEqual(self.failures("EXPECT leak labels=plan comm=nc\nREJECT leak comm=sh\nEXPECT managed file path=/tmp/x\n"
                                       "OUTPUT ^done$\nEXPLAIN /tmp/x from /srv\n", "a\ndone\n"), [])
        with open(os.path.join(self.top, "output.log")) as handle:
            self.assertEqual(handle.read(), "a\ndone\n")

    def test_what_was_expected_and_what_came_nearest(self):
        found = self.failures("EXPECT leak comm=sh labels=plan\nEXPECT managed pipe\nEXPECT managed file path=/y\n")
        self.assertEqual(len(found), 3)
        self.assertRegex(found[0], r"^line 3: expected  leak comm=sh labels=plan\ncame nearest  leak .*\[differs: comm\]$")
        self.assertEqual(found[1], "line 4: expected  managed pipe\ncame          nothing like it (0 entries in all)")
        self.assertRegex(found[2], r"^line 5: .*\ncame nearest  file /tmp/x labels=plan   \[differs: path\]$")

    def test_what_must_not_be(self):
        self.assertRegex(self.failures("REJECT leak\n")[0], r"^line 3: must not be  leak\ncame          leak labels=plan")

    def test_output_and_explanation(self):
        self.assertEqual(self.failures("OUTPUT ^x$\n"), ["line 3: expected  OUTPUT ^x$\nthe guest printed nothing"])
        found = self.failures("OUTPUT ^x$\nOUTPUT ^7$\nOUTPUT ^y$\n", "".join(f"{i}\n" for i in range(99)))
        self.assertEqual(found[0], "line 3: expected  OUTPUT ^x$")
        self.assertEqual(found[1].splitlines(), ["line 5: expected  OUTPUT ^y$"] + [f"the guest printed  {i}" for i in range(39, 99)])
        self.assertEqual(self.failures("EXPLAIN /z nowhere\n"), ["line 3: expected  EXPLAIN /z nowhere\noboro explain  /z came from /srv"])

    def test_status(self):
        self.assertEqual(self.failures("STATUS complete\n"), [])
        self.write("said.status", '{"complete": false}')
        found = self.failures("STATUS complete\n")
        self.assertRegex(found[0], r"(?s)^expected  STATUS complete\ncame      incomplete\n +incomplete .*a channel")
        self.assertEqual(self.failures("STATUS incomplete\n"), [])
        self.assertEqual(self.failures("STATUS any\n"), [])

    def test_what_is_no_json(self):
        self.write("said.events", '{"kind": "leak"}\nnonsense\n')
        with self.assertRaisesRegex(CaseFailed, "oboro events --json: line 2 is no JSON"):
            self.failures("STATUS any\n")

    def test_a_program_that_fails(self):
        self.write("oboro", "#!/bin/sh\necho no such state >&2\nexit 2\n")
        with self.assertRaisesRegex(CaseFailed, "oboro events --json ended with status 2: no such state"):
            self.failures("STATUS any\n")


class StatusTest(unittest.TestCase):
    def test_forms(self):
        for text, came in (('{"complete": true}', "complete"), ('{"status": "incomplete"}', "incomplete"), ("", "no JSON: (nothing)"),
                           ("[]", "JSON that says neither complete nor incomplete")):
            self.assertEqual(expectations.status_of(text), came)


if __name__ == "__main__":
    unittest.main()
