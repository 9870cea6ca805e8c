"""Unit tests: the command that starts a case's guest."""

import os
import tempfile
import unittest

from oborotools.case import Case
from oborotools.guest import Guest
from oborotools.runner import options, preparation

MEMORY = Guest("minimal", "/k/vmlinuz", "6.1.0", [], "console=ttyS0", None, False)
DISK = Guest("plain", "/k/vmlinuz", "6.1.0", [], "console=ttyS0", "/root.ext4", True)
SETTING = preparation.Setting("/d", "/d/state", "/d/monitor", 10010, "6.1", 1)
TAIL = ["--", "-netdev", "user,id=net0", "-device", "virtio-net-pci,netdev=net0,romfile=", "-monitor", "unix:/d/monitor,server=on,wait=off"]


class CommandTest(unittest.TestCase):
    def command(self, *arguments, built=MEMORY, **case):
        found = options.parse([*arguments, "x"])
        found.oboro = "/oboro"
        return preparation.command(found, Case("/c/x.case", "x", **case), built, SETTING)

    def test_plain(self):
        self.assertEqual(self.command(), ["/oboro", "run", "--kernel", "/k/vmlinuz", "--initrd", "/d/initrd", "--append", "console=ttyS0",
                                          "--cpus", "1", "--memory", "512M", "--state", "/d/state", "--vm", "x", *TAIL])

    def test_what_the_case_and_the_command_line_say(self):
        found = self.command("--engine", "tcg", "--qemu", "/q", built=DISK, memory="1G", classify=["/a=b"], config="/c/x.toml",
                             args=["--leak", "deny", "--wait", "$CASE_TMP:$CASE_PORT:$CASE_DIR:$OTHER", "--", "-s"])
        self.assertEqual(found[8:], ["--disk", "/d/disk.qcow2,backing=/root.ext4,backing-format=raw", "--cpus", "1", "--memory", "1G", "--engine", "tcg", "--qemu", "/q",
                                     "--classify", "/a=b", "--config", "/c/x.toml", "--state", "/d/state", "--vm", "x",
                                     "--leak", "deny", "--wait", "/d:10010:/c:$OTHER", *TAIL, "-s"])

    def test_proxies_in_machines_boot_the_guests_kernel(self):
        machine = ["--proxy-kernel", "/k/vmlinuz", "--proxy-modules", "/k/modules/lib/modules/6.1.0"]
        self.assertEqual(self.command("--proxy", "vm")[-len(TAIL) - 6:-len(TAIL)], ["--proxy", "vm", *machine])
        self.assertEqual(self.command(args=["--proxy", "vm"])[-len(TAIL) - 6:-len(TAIL)], ["--proxy", "vm", *machine])
        self.assertNotIn("--proxy-kernel", self.command("--proxy", "vm", args=["--proxy", "process"]))

    def test_nested(self):
        self.assertIn("console=ttyS0 watchdog_thresh=60", self.command("--nested"))

    def test_what_was_prepared_runs_with_another_state_and_program(self):
        with tempfile.TemporaryDirectory() as directory:
            with open(os.path.join(directory, "command"), "w") as handle:
                handle.write(f"/oboro run --state {directory}/state 'a b' unix:{directory}/monitor,x\n")
            here = preparation.Setting(directory, "/s/state", "/s/monitor", 1, "6.1", 1)
            found = options.parse(["x"])
            found.oboro = "/copy/oboro"
            self.assertEqual(preparation.prepared(found, here), ["/copy/oboro", "run", "--state", "/s/state", "a b", "unix:/s/monitor,x"])


class BootsTest(unittest.TestCase):
    def test_what_follows_each_boot(self):
        case = Case("/c/x.case", boots=[["a", "b"], ["c"], ["e"], ["d"]], ends=["reboot", "kill", "kill run 40"])
        self.assertEqual(preparation.boots(case, 7), [("export CASE_PORT=7\na\nb\n", "reboot"), ("export CASE_PORT=7\nc\n", "wait"), ("export CASE_PORT=7\ne\n", "wait"),
                                                      ("export CASE_PORT=7\nd\n", "poweroff")])


if __name__ == "__main__":
    unittest.main()
