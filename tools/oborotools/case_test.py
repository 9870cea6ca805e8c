"""Unit tests: how cases are read, and how expectations are compared."""

import os
import tempfile
import unittest

from oborotools import aptroot, case
from oborotools.cache import ToolError

LEAK = {"seq": 2, "kind": "leak", "labels": ["plan", "keys"], "syscall": "sendto", "boot": 1,
        "subject": {"pid": 7, "comm": "nc", "exe": "/usr/bin/nc"}, "from": {"type": "process", "comm": "nc"},
        "object": {"type": "socket", "protocol": "tcp", "local": {"address": "10.0.2.15", "port": 4000},
                   "remote": {"address": "10.0.2.2", "port": 22}}}
FILE = {"type": "file", "id": 3, "path": "/tmp/x", "paths": ["/tmp/x", "/srv/y"], "labels": ["plan"]}


class Reading(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)

    def read(self, text):
        name = os.path.join(self.directory.name, "x.case")
        with open(name, "w") as handle:
            handle.write(text)
        return case.read(name)

    def refused(self, text, line, words):
        with self.assertRaises(ToolError) as caught:
            self.read(text)
        self.assertIn(f"x.case:{line}: ", str(caught.exception))
        self.assertIn(words, str(caught.exception))

    def test_comments_end_directives_but_not_shell_lines(self):
        read = self.read("# first\nNAME  a name # and why\nRUN echo a # b\nOUTPUT a#b # c\n")
        self.assertEqual(read.name, "a name")
        self.assertEqual(read.boots, [["echo a # b"]])
        self.assertEqual(read.output[0][1].pattern, "a#b")

    def test_packages_choose_the_guest(self):
        self.assertEqual(self.read("NAME n\nRUN x\nOUTPUT x\n").guest, "minimal")
        self.assertEqual(self.read("NAME n\nPACKAGES tar\nRUN x\nOUTPUT x\n").guest, "plain")
        self.refused("NAME n\nPACKAGES tar\nGUEST minimal\nRUN x\nOUTPUT x\n", 2, "no packages")

    def test_reboots_separate_scripts_and_need_a_disk(self):
        self.assertEqual(self.read("NAME n\nRUN a\nREBOOT kill run 40\nRUN b\nOUTPUT x\n").ends, ["kill run 40"])
        read = self.read("NAME n\nRUN a\nRUN b\nREBOOT\nRUN c\nREBOOT kill\nRUN d\nOUTPUT x\n")
        self.assertEqual(read.boots, [["a", "b"], ["c"], ["d"]])
        self.assertEqual(read.ends, ["reboot", "kill"])
        self.assertTrue(read.disk)
        self.refused("NAME n\nRUN a\nREBOOT\nOUTPUT x\n", 5, "after the last REBOOT")

    def test_what_would_hold_forever_is_refused(self):
        self.refused("NAME n\nRUN a\nREJECT leek dport=1\n", 3, "'leek' is no event kind")
        self.refused("NAME n\nRUN a\nREJECT leak dprot=1\n", 3, "no field 'dprot'")
        self.refused("NAME n\nRUN a\n", 3, "nothing is checked")

    def test_errors_name_the_line(self):
        self.refused("NAME n\nRUNN a\n", 2, "'RUNN' is no directive")
        self.refused("NAME n\nNAME m\n", 2, "stands in line 1 already")
        self.refused("NAME n\nOUTPUT (\n", 2, "no regular expression")
        self.refused("NAME n\nFILE /a gone.c\n", 2, "there is no file")
        self.refused("NAME n\nREBOOT\n", 2, "nothing is RUN before")
        self.refused("NAME n\nRUN a\nREBOOT kill host 4\n", 3, "kill run EVENTS")
        self.refused("NAME n\nNETWORK mine\n", 2, "no network: own or host")

    def test_the_network_is_its_own_unless_it_says_otherwise(self):
        self.assertEqual(self.read("NAME n\nRUN x\nOUTPUT x\n").network, "own")
        self.assertEqual(self.read("NAME n\nNETWORK host\nRUN x\nOUTPUT x\n").network, "host")


class Matching(unittest.TestCase):
    def differs(self, text, record):
        return case.matches(case._pattern(text, 1), record)

    def test_aliases_reach_into_the_event(self):
        self.assertEqual(self.differs("leak dport=22 saddr=10.0.2.15 comm=nc from.comm=nc protocol=tcp boot=1", LEAK), [])
        self.assertEqual(self.differs("leak dport=2 exe~/nc$ pid=8", LEAK), ["dport", "pid"])

    def test_labels_are_compared_as_a_sorted_list(self):
        self.assertEqual(self.differs("leak labels=plan,keys", LEAK), [])
        self.assertEqual(self.differs("leak labels=plan", LEAK), ["labels"])
        self.assertEqual(self.differs("leak labels~plan", LEAK), [])

    def test_any_name_of_a_file_will_do(self):
        self.assertEqual(self.differs("managed file path=/srv/y", FILE), [])
        self.assertEqual(self.differs("managed file path~^/home", FILE), ["path"])

    def test_a_missing_field_equals_only_the_empty_value(self):
        self.assertEqual(self.differs("leak path=", LEAK), [])
        self.assertEqual(self.differs("leak path=/x", LEAK), ["path"])

    def test_quotes_keep_blanks_and_backslashes_stay(self):
        self.assertEqual(case.words(r'''comm="my prog" path~\.txt$'''), ["comm=my prog", r"path~\.txt$"])

    def test_the_nearest_comes_first(self):
        other = dict(LEAK, subject={"pid": 1, "comm": "ssh"})
        lines = case.nearest(case._pattern("leak comm=nc dport=23", 1), [other, LEAK])
        self.assertIn("by nc(7)", lines[0])
        self.assertIn("differs: dport]", lines[0])


class Archive(unittest.TestCase):
    def archive(self, name, text):
        with tempfile.TemporaryDirectory() as etc:
            os.makedirs(os.path.join(etc, "sources.list.d"))
            with open(os.path.join(etc, name), "w") as handle:
                handle.write(text)
            return aptroot.archive(etc)

    def test_both_formats_of_sources(self):
        self.assertEqual(self.archive("sources.list", "deb [arch=amd64 signed-by=/k] http://a.example/debian bookworm main\n"),
                         "http://a.example/debian")
        self.assertEqual(self.archive("sources.list.d/debian.sources",
                                      "# note\nTypes: deb deb-src\nURIs: http://s.example/security\nSuites: trixie-security\n"
                                      "Components: main\n\nTypes: deb\nURIs: http://b.example/debian\n"
                                      "Suites: trixie trixie-updates\nComponents: main contrib\n"), "http://b.example/debian")

    def test_disabled_and_foreign_sources_do_not_count(self):
        with self.assertRaises(ToolError):
            self.archive("sources.list.d/x.sources",
                         "Enabled: no\nTypes: deb\nURIs: http://c.example\nSuites: bookworm\nComponents: main\n")
        with self.assertRaises(ToolError):
            self.archive("sources.list", "deb http://d.example/ubuntu noble main\n# deb http://e.example bookworm main\n")


if __name__ == "__main__":
    unittest.main()
