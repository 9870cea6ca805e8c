"""Unit tests: reading a guest's console, and the state of a guest that is stuck."""

import os
import tempfile
import unittest

from oborotools.runner import console, stuck

TWO = "boot\n@oboro begin 1\none\n@oboro end 1 status=0\nreboot\n@oboro begin 2\ntwo\n@oboro end 2 status=3\nbye\n"


class ConsoleTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.top = directory.name

    def write(self, name, data):
        path = os.path.join(self.top, name)
        with open(path, "wb") as handle:
            handle.write(data)
        return path

    def test_output_is_what_is_between_the_markers(self):
        self.assertEqual(console.output(TWO), "one\ntwo\n")
        self.assertEqual(console.output("x\n@oboro begin 1\ncut of"), "cut of")
        self.assertEqual(console.output("a @oboro begin 1\nnot at the beginning of a line\n"), "")

    def test_all_boots_came_to_their_end(self):
        self.assertEqual(console.came_to(TWO, 2, 0, ""), ([0, 3], None))

    def test_boots_that_may_be_cut_short(self):
        self.assertEqual(console.came_to(TWO.replace("@oboro end 1 status=0", "killed here"), 2, 0, "", 1), ([3], None))
        self.assertIsNone(console.came_to(TWO.replace("@oboro end 2 status=3", "killed here"), 2, 0, "", 1)[0])

    def test_why_they_did_not(self):
        for text, why in ((TWO[:60], "oboro run ended (status 7) before the case's script did, in boot 1 of 2; words"),
                          (TWO[:80], "oboro run ended (status 7) before the case's script did, in boot 2 of 2; words"),
                          ("@oboro failed no disk \n", "the guest could not run the case: no disk"),
                          ("[1] Kernel panic - not syncing: Attempted\n",
                           "the guest's kernel panicked: Kernel panic - not syncing: Attempted, in boot 1 of 2; words")):
            self.assertEqual(console.came_to(text, 2, 7, "; words"), (None, why))

    def test_text_from_an_offset_without_carriage_returns(self):
        path = self.write("console", b"one\r\ntwo\xff\r\n")
        self.assertEqual(console.text_of(path, 5), "two\ufffd\n")
        self.assertEqual(console.text_of(path + ".none"), "")

    def test_last_words(self):
        empty = self.write("oboro.log", b"\n\x1b[0m \n")
        full = self.write("console.log", b"first\n\x1b[2Jlast \n\n")
        self.assertEqual(console.last_words(empty, full), "; last line of console.log: last")
        self.assertEqual(console.last_words(empty, full + ".none"), "")


class StuckTest(unittest.TestCase):
    def test_where_the_vcpus_are(self):
        registers = "CPU#0\nRAX=1 RBX=2\nRIP=ffffffff81 RFL=2 [---] CPL=0 II=0 HLT=0\nCS =1\nCPU#1\nEIP=0000fff0 HLT=1\n"
        self.assertEqual(stuck.vcpus(registers), "; vCPU 0 at ffffffff81; vCPU 1 halted at 0000fff0")
        self.assertEqual(stuck.vcpus(""), "")

    def test_no_emulator_no_word(self):
        self.assertEqual(stuck.look(None, "/nowhere", "/nowhere"), "")

    def test_armed(self):
        with tempfile.TemporaryDirectory() as state:
            self.assertTrue(stuck.was_armed(state), "who knows")
            journal = os.path.join(state, "events.jsonl")
            with open(journal, "w") as handle:
                handle.write('{"kind":"started"}\n')
            self.assertFalse(stuck.was_armed(state))
            with open(journal, "a") as handle:
                handle.write('{"kind":"armed"}\n')
            self.assertTrue(stuck.was_armed(state))


if __name__ == "__main__":
    unittest.main()
