import os
import tempfile
import unittest

from . import invariants, told

TOLD = """\
start 2 1 1
run 0
try 2 armed 0 0 0 0 0
did 2
try 3 classified 1 1 1 1000 1
did 3
try 4 diffusion 2 2 1 0 0
did 4
try 5 diffusion 3 1 1 1007 1
start 7 4 2
file 1 1 1000 1
file 3 1 1007 1
run 3
try 7 armed 0 0 0 0 0
did 7
try 8 removed 3 1 1 1007 1
did 8
"""


def entry(seq, kind, what=None, **more):
    return {"seq": seq, "kind": kind, **({"object": {"id": what}} if what else {}), **more}


JOURNAL = [entry(1, "started"), entry(2, "armed"), entry(3, "classified", "f1"), entry(4, "diffusion", "p2"), entry(5, "diffusion", "f3"), entry(6, "started"),
           entry(7, "armed"), entry(8, "removed", "f3"), entry(9, "stopped")]


class Invariants(unittest.TestCase):
    def of_events(self, text=TOLD, journal=JOURNAL, powerless=(False, False)):
        return invariants.of_events(told.parse(text), journal, powerless)

    def test_what_holds(self):
        self.assertEqual(self.of_events(), [])
        self.assertEqual(invariants.of_numbers(JOURNAL), [])

    def test_an_event_that_is_lost(self):
        without = [event for event in JOURNAL if event["seq"] != 4]
        self.assertIn("event 4 (diffusion of 2) was given to the ring by start 1", self.of_events(journal=without)[0])
        self.assertIn("events 4 to 4 are missing", invariants.of_numbers(without)[0])
        lost = [*without, {"kind": "lost", "lost": {"count": 1}}]
        self.assertEqual(self.of_events(journal=lost) + invariants.of_numbers(lost), [])
        # What was on its way when the guest was killed may be there, or not.
        never = TOLD.replace("file 3 1 1007 1\n", "").replace("try 8 removed 3 1 1 1007 1\ndid 8\n", "")
        self.assertEqual(self.of_events(never, [event for event in JOURNAL if event["seq"] not in (5, 8)]), [])

    def test_a_record_of_another_object_is_not_the_event(self):
        other = [entry(4, "diffusion", "p9") if event["seq"] == 4 else event for event in JOURNAL]
        self.assertIn("event 4", self.of_events(journal=other)[0])

    def test_numbers_that_come_twice(self):
        self.assertIn("event 3 comes after event 5", invariants.of_numbers([entry(5, "exec"), entry(3, "exec")])[0])
        self.assertIn("start 2 gives number 5 again", self.of_events(TOLD.replace("start 7 4", "start 5 4"))[0])
        self.assertIn("start 2 gives ID 3 again", self.of_events(TOLD.replace("start 7 4", "start 7 3"))[0])

    def test_labels_that_a_start_does_not_know(self):
        self.assertIn("start 2 knows file (1000, 1) as (ID, labels) None", self.of_events(TOLD.replace("file 1 1 1000 1\n", ""))[0])
        self.assertIn("start 2 knows file (1000, 1) as (ID, labels) (1, 3)", self.of_events(TOLD.replace("file 1 1 1000", "file 1 3 1000"))[0])
        self.assertIn("before it that was None", self.of_events(TOLD.replace("run 3", "file 9 1 1009 1\nrun 3"))[0])

    def test_a_power_loss_may_take_what_nobody_has_synchronised(self):
        text = TOLD.replace("start 7 4", "start 5 3").replace("file 3 1 1007 1\n", "").split("try 7")[0] + "try 5 armed 0 0 0 0 0\ndid 5\n"
        journal = [*JOURNAL[:3], entry(4, "started"), entry(5, "armed")]
        self.assertEqual(self.of_events(text.replace("start 5 3", "start 5 2"), journal, (True, False)), [])
        self.assertNotEqual(self.of_events(text.replace("start 5 3", "start 5 2"), journal), [])

    def test_removed_segments(self):
        warning = {"kind": "warning", "warning": {"text": "bytes 0 to 900 of the journal were removed: ..."}}
        journal = [*JOURNAL[4:], warning]
        self.assertEqual(self.of_events(journal=journal), [])
        self.assertNotEqual(self.of_events(journal=JOURNAL[4:]), [])

    def test_lists(self):
        one = {"paths": ["/a"], "path": "/a", "labels": ["x", "y"], "state": "present", "inode": 1000, "generation": 1, "id": "f1"}
        self.assertEqual(invariants.of_list([one], [{**one, "labels": ["y", "x"], "id": "f7"}]), [])
        self.assertIn("/a bears ['x', 'y'], and without the fault ['x']", invariants.of_list([one], [{**one, "labels": ["x"]}])[0])
        self.assertIn("/a bears nothing", invariants.of_list([{**one, "state": "ended"}], [one])[0])
        self.assertEqual(invariants.of_end([one], told.parse(TOLD)), [])
        self.assertIn("listed as f2", invariants.of_end([{**one, "id": "f2"}], told.parse(TOLD))[0])
        gone, other = {**one, "paths": [], "state": "unlinked"}, {**one, "generation": 2, "id": "f9"}
        missing = "file (1000, 1) is listed as nothing"
        self.assertIn(missing, invariants.of_end([gone, other], told.parse(TOLD))[0])
        self.assertNotIn(missing, "".join(invariants.of_end([gone, other], told.parse(TOLD), True)))
        self.assertIn(missing, invariants.of_end([gone], told.parse(TOLD), True)[0])

    def test_checkpoints(self):
        def of(text):
            return invariants.of_checkpoint([{"kind": "warning", "warning": {"text": text}}])

        self.assertEqual(of("all of the journal was read at the start: /s/checkpoint: No such file or directory"), [])
        self.assertEqual(len(of("all of the journal was read at the start: /s/checkpoint: the journal was changed since it was written")), 1)

    def test_what_stays_behind(self):
        with tempfile.TemporaryDirectory() as directory:
            for name in ("events.jsonl", "ring", "checkpoint.new", "run.sock"):
                open(os.path.join(directory, name), "w").close()
            os.mkdir(os.path.join(directory, "journal"))
            for name in ("00000000000000000000.jsonl.zst", "00000000000000000000.jsonl.zst.new"):
                open(os.path.join(directory, "journal", name), "w").close()
            self.assertEqual([line.split()[0] for line in invariants.of_directory(directory)],
                             ["checkpoint.new", "journal/00000000000000000000.jsonl.zst.new", "run.sock"])

    def test_processes(self):
        with tempfile.TemporaryDirectory() as proc:
            for pid, command in (("11", b"/tmp/here/x\0"), ("12", b"/tmp/here2/x\0")):
                os.mkdir(os.path.join(proc, pid))
                for name, content in (("cmdline", command), ("environ", b"A=1\0")):
                    with open(os.path.join(proc, pid, name), "wb") as file:
                        file.write(content)
            self.assertEqual([line.split()[1] for line in invariants.of_processes("/tmp/here", proc)], ["11"])


if __name__ == "__main__":
    unittest.main()
