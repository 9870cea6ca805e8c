"""Unit tests: cases that share a guest, with a stand-in for oboro and no guest."""

import os
import tempfile
import unittest
from unittest import mock

from oborotools import case as cases
from oborotools.cache import ToolError
from oborotools.runner import options, preparation, shared
from oborotools.runner import run as runs

# Like a guest: waits behind each case. One event for each, and what is managed is in a file that is emptied when it is cleaned up.
STAND_IN = """#!/bin/sh
for last; do :; done
case $1 in
run)
    mkdir -p {state}; echo boot >>{top}/boots; n=0; echo @oboro begin 1
    for name in $(cat {top}/names); do
        n=$((n + 1))
        echo "@oboro case $n"; echo "this is $name"; echo '{{"type":"file","path":"/tmp/x"}}' >{state}/list
        echo "{{\\"seq\\":$n,\\"kind\\":\\"leak\\",\\"subject\\":{{\\"comm\\":\\"$name\\"}}}}" >>{state}/events
        [ $name != slow ] || sleep 60
        [ $name != dies ] || exit 5
        echo; echo "@oboro over $n status=0"; read -r go || break
        [ $name = leaves ] || : >{state}/list
        echo "@oboro clean $n"; read -r go
    done
    echo @oboro end 1 status=0 ;;
events) cat $last/events ;;
list) cat $last/list ;;
status) echo '{{"complete":true}}' ;;
esac
"""


class SharedTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.top = directory.name
        os.mkdir(os.path.join(self.top, "work"))

    def go(self, *names, arguments=(), expect="EXPECT leak comm={name}\nREJECT leak comm=first\nEXPECT managed file path=/tmp/x\n"):
        """The results of cases with these names, and how often there was a boot."""
        found = options.parse(["--timeout-factor", "2", *arguments, "x"])
        found.work, found.shared_network, found.oboro = os.path.join(self.top, "work"), "not tried here", os.path.join(self.top, "oboro")
        members = []
        for name in names:
            with open(os.path.join(self.top, name + ".case"), "w") as handle:
                handle.write(f"NAME {name}\nSHARE\nTIMEOUT 1\nRUN r\nOUTPUT ^this is {name}$\n" +
                             (expect.format(name=name) if name != "first" else ""))
            members.append(runs.Run(found, cases.read(handle.name), "6.1", 10000))

        def prepare(options, case, setting, files=None):
            count = sum(path.endswith("/.run") for path, _, _ in files or ())
            left = [run.case.name for run in members[-count:]] if count else [case.name]
            with open(os.path.join(self.top, "names"), "w") as handle:
                handle.write(" ".join(left))
            with open(options.oboro, "w") as handle:
                handle.write(STAND_IN.format(state=setting.state, top=self.top))
            os.chmod(options.oboro, 0o700)
            return [options.oboro, "run"]

        with mock.patch.object(preparation, "prepare", prepare), mock.patch.object(shared, "say"):
            results = list(shared.SharedRun(members).results())
        with open(os.path.join(self.top, "boots"), "a+") as handle:
            handle.seek(0)
            return results, len(handle.readlines())

    def test_each_case_has_its_own_events_and_output(self):
        results, boots = self.go("first", "second", "third")
        self.assertEqual([(result.name, result.outcome, result.failures) for result in results],
                         [(name, "passed", []) for name in ("first", "second", "third")])
        self.assertEqual(boots, 1)
        self.assertEqual(os.listdir(os.path.join(self.top, "work")), [])

    def test_what_came_before_does_not_count(self):
        results, _ = self.go("first", "second", expect="EXPECT leak comm=first\n")
        self.assertEqual([result.outcome for result in results], ["passed", "failed"])
        self.assertIn("came nearest  leak by second", results[1].failures[0])
        self.assertTrue(os.path.exists(os.path.join(results[1].logs, "console.log")))

    def test_nothing_runs_behind_a_case_that_leaves_something_managed(self):
        results, boots = self.go("first", "leaves", "third")
        self.assertEqual([(result.outcome, result.failures) for result in results], [("passed", [])] * 3)
        self.assertEqual(boots, 2)

    def test_behind_a_failure_there_is_a_new_guest(self):
        results, boots = self.go("first", "dies", "third")
        self.assertEqual([result.outcome for result in results], ["passed", "failed", "passed"])
        self.assertEqual(boots, 2)
        self.assertRegex(results[1].failures[0], r"^oboro run ended \(status 5\) before the case's script did")

    def test_an_interrupt_begins_no_other_guest(self):
        with mock.patch.object(shared.STOP, "is_set", lambda: True):
            results, _ = self.go("slow", "second", "third")
        self.assertEqual([result.failures[0] for result in results], ["interrupted"])

    def test_not_over_in_time(self):
        results, boots = self.go("slow", "third")
        self.assertEqual([result.outcome for result in results], ["failed", "passed"])
        self.assertRegex(results[0].failures[0], r"^not over after 2 s \(TIMEOUT\)")


class GroupsTest(unittest.TestCase):
    def run_of(self, name, kernel="6.1", cpus=1, share=True, **more):
        case = cases.Case(f"/c/{name}.case", name, guest="minimal", share=share, **more)
        return mock.Mock(case=case, kernel=kernel, cpus=cpus, spec=["case", "kernel", "cpus"])

    def names(self, found, jobs):
        return [[run.case.name for run in group] for group in shared.groups(found, jobs)]

    def test_only_what_says_so_and_is_booted_alike(self):
        found = [self.run_of("a"), self.run_of("own", share=False), self.run_of("own2", share=False), self.run_of("b"),
                 self.run_of("label", classify=["/a=b"]), self.run_of("big", memory="1G"), self.run_of("new", kernel="7.3"),
                 self.run_of("two", cpus=2), self.run_of("module", modules=["tun"])]
        self.assertEqual(self.names(found, 1), [["a", "b"], ["own"], ["own2"], ["label"], ["big"], ["new"], ["two"], ["module"]])

    def test_every_job_has_a_guest_and_none_too_many_cases(self):
        found = [self.run_of(str(number)) for number in range(30)]
        self.assertEqual([len(group) for group in self.names(found, 2)], [10, 10, 10])
        self.assertEqual([len(group) for group in self.names(found, 4)], [8, 8, 7, 7])
        self.assertEqual(self.names(found[:2], 3), [["0"], ["1"]])


class DirectiveTest(unittest.TestCase):
    def test_what_makes_a_guest_one_cases_own(self):
        with tempfile.TemporaryDirectory() as top:
            name = os.path.join(top, "x.case")
            for more, words in (("HOST true", "HOST"), ("STATUS any\nPACKAGES tar", "STATUS and PACKAGES"), ("REBOOT\nRUN y", "REBOOT")):
                with open(name, "w") as handle:
                    handle.write(f"NAME n\nRUN x\nSHARE\nOUTPUT x\n{more}\n")
                with self.assertRaisesRegex(ToolError, rf"x.case:3: a case with {words} cannot SHARE a guest"):
                    cases.read(name)


if __name__ == "__main__":
    unittest.main()
