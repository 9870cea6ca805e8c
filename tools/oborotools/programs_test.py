"""Unit tests: how the programs of cases are compiled."""

import os
import subprocess
import tempfile
import unittest
from unittest import mock

from oborotools import programs
from oborotools.cache import ToolError


class CompileTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.top = directory.name
        patch = mock.patch.dict(os.environ, OBORO_CACHE=os.path.join(self.top, "cache"))
        patch.start()
        self.addCleanup(patch.stop)

    def write(self, name, text):
        path = os.path.join(self.top, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as handle:
            handle.write(text)
        return path

    def status(self, source):
        return subprocess.run([programs.compile_static(source)], timeout=60).returncode

    def test_a_directory_is_one_program(self):
        self.write("program/answer.h", "int answer(void);\n")
        self.write("program/answer.c", '#include "answer.h"\nint answer(void) { return 42; }\n')
        main = self.write("program/main.c", '#include "answer.h"\nint main(void) { return answer(); }\n')
        self.assertEqual(self.status(os.path.dirname(main)), 42)

    def test_a_header_anywhere_that_changes_makes_it_anew(self):
        main = self.write("program/main.c", '#include "../status.h"\nint main(void) { return STATUS; }\n')
        for status in (3, 4):
            self.write("status.h", f"#define STATUS {status}\n")
            self.assertEqual(self.status(os.path.dirname(main)), status)

    def test_what_cannot_be_compiled_is_said(self):
        with self.assertRaisesRegex(ToolError, r"main\.c.*no_such_thing"):
            programs.compile_static(self.write("main.c", "int main(void) { return no_such_thing; }\n"))
        os.mkdir(os.path.join(self.top, "empty"))
        with self.assertRaisesRegex(ToolError, r"there is no \*\.c in .*empty"):
            programs.compile_static(os.path.join(self.top, "empty"))


if __name__ == "__main__":
    unittest.main()
