"""Unit tests: one case from its beginning to its result, with a stand-in for oboro and no guest."""

import os
import tempfile
import unittest
from unittest import mock

from oborotools import case as cases
from oborotools.runner import namespaces, options, preparation
from oborotools.runner import run as runs

STAND_IN = """#!/bin/sh
case $1 in
run) mkdir -p {state}; echo '{{"kind":"started"}}' >{state}/events.jsonl; {run} ;;
events) echo '{{"kind":"armed"}}' ;;
status) echo '{{"complete":true}}' ;;
esac
"""
GOOD = "echo @oboro begin 1; echo done; echo @oboro end 1 status=0"


class RunTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.top = directory.name

    def go(self, run, more="", arguments=(), factor="1"):
        """The result of a case where `oboro run` is this shell line."""
        os.makedirs(os.path.join(self.top, "work"), exist_ok=True)
        name = os.path.join(self.top, "x.case")
        with open(name, "w") as handle:
            handle.write(f"NAME n\nRUN r\nOUTPUT ^done$\nTIMEOUT 1\n{more}\n")
        found = options.parse([*arguments, "--timeout-factor", factor, name])
        found.work, found.shared_network, found.oboro = os.path.join(self.top, "work"), "not tried here", os.path.join(self.top, "oboro")
        self.run = runs.Run(found, cases.read(name), "6.1", 10000)
        with open(found.oboro, "w") as handle:
            handle.write(STAND_IN.format(state=self.run.state, run=run))
        os.chmod(found.oboro, 0o700)
        with mock.patch.object(preparation, "prepare", lambda options, case, setting: [options.oboro, "run"]):
            return self.run.go()

    def test_passes_and_leaves_nothing(self):
        result = self.go(GOOD)
        self.assertEqual((result.outcome, result.failures, result.logs), ("passed", [], ""))
        self.assertEqual(os.listdir(os.path.join(self.top, "work")), [])

    def test_keep(self):
        result = self.go(GOOD, arguments=["--keep"])
        self.assertEqual(result.outcome, "passed")
        self.assertIn("output.log", os.listdir(result.logs))

    def test_fails_with_notes(self):
        result = self.go("sleep 0.3; echo @oboro begin 1; echo @oboro end 1 status=5", "HOST echo no port; exit 9")
        self.assertEqual(result.outcome, "failed")
        self.assertEqual(result.failures, ["line 3: expected  OUTPUT ^done$\nthe guest printed nothing",
                                           "note: the HOST script had ended by itself with status 9: no port",
                                           "note: the guest's script ended with status 5"])
        self.assertTrue(os.path.isdir(result.logs))

    def test_ends_early(self):
        result = self.go("echo something >&2; exit 4")
        self.assertEqual(result.failures, ["oboro run ended (status 4) before the case's script did, in boot 1 of 1; "
                                           "last line of oboro.log: something"])

    def test_panic(self):
        result = self.go("echo 'x Kernel panic - not syncing: no init'; sleep 60", factor="30")
        self.assertEqual(result.failures, ["the guest's kernel panicked: Kernel panic - not syncing: no init"])

    def test_killed_after_so_many_events(self):
        # The first time it goes on until it is killed; the second time it comes to its end.
        first = ("echo @oboro begin 1; mkdir -p $CASE_STATE; for i in 1 2 3; do echo $i >>$CASE_STATE/events.jsonl; sleep 0.1; done; sleep 60")
        once = f"if [ -e {self.top}/tried ]; then echo @oboro begin 2; echo done; echo @oboro end 2 status=0; else touch {self.top}/tried; {first}; fi"
        result = self.go(once, "REBOOT kill run 3\nRUN s\n", factor="30")
        self.assertEqual((result.outcome, result.failures), ("passed", []))

    def test_not_over_in_time(self):
        result = self.go("echo @oboro begin 1; sleep 60", factor="0.5")
        self.assertEqual(len(result.failures), 1)
        self.assertRegex(result.failures[0], r"^not over after 0\.5 s \(TIMEOUT\); 0 of 1 scripts had ended; last line of console.log")
        self.assertIsNotNone(self.run.process.poll())

    def test_a_guest_that_never_began_is_booted_again(self):
        once = f"if [ -e {self.top}/tried ]; then {GOOD}; else touch {self.top}/tried; trap 'exit 0' TERM; sleep 60 & wait; fi"
        arguments = ["--engine", "tcg", "--cpus", "2"]
        result = self.go(once, arguments=arguments, factor="1")
        self.assertEqual((result.outcome, result.failures), ("passed", []))
        self.assertRegex(result.again, "^not over after 1 s")
        self.assertTrue(os.path.exists(os.path.join(result.logs, "console.first.log")))
        for others in (["--engine", "tcg"], ["--cpus", "2"]):
            os.unlink(os.path.join(self.top, "tried"))
            self.assertEqual(self.go(once, arguments=others, factor="1").outcome, "failed", others)


class PortsTest(unittest.TestCase):
    def test_numbers_of_host_lines(self):
        self.assertEqual(namespaces.Ports.named_by(["nc -l 4000 >x", "sleep 5; nc 10.0.2.2 514", "n123456"]), {4000, 10, 514})

    def test_the_same_number_waits(self):
        ports = namespaces.Ports()
        ports.take({1, 2})
        ports.take({3})
        with mock.patch.object(ports.changed, "wait_for", lambda free: self.assertFalse(free())):
            ports.take({2, 4})
        ports.give({1, 2})
        with mock.patch.object(ports.changed, "wait_for", lambda free: self.assertTrue(free())):
            ports.take({1})


if __name__ == "__main__":
    unittest.main()
