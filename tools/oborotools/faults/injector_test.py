import os
import struct
import tempfile
import unittest

from . import injector


class Injector(unittest.TestCase):
    def test_what_was_counted(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "seen")
            with open(path, "wb") as file:
                file.write(struct.pack("=18Q4Q", 1, *range(10, 26), 2, 77, 4096, 78, 0) + bytes(64))
            seen = injector.Seen.read(path)
            self.assertEqual((seen.fired, seen.counts["write"], seen.counts["socket"]), (1, 10, 25))
            self.assertEqual(seen.synced, {77: 4096, 78: 0})
            self.assertEqual(injector.Seen.read(path + "x").fired, 0)

    def test_a_power_loss_takes_what_was_not_synchronised(self):
        with tempfile.TemporaryDirectory() as directory:
            seen = injector.Seen(bytes(18 * 8))
            for name, size, kept in (("journal", 100, 60), ("whole", 50, 50), ("ring", 80, 0), ("unknown", 30, None)):
                path = os.path.join(directory, name)
                with open(path, "wb") as file:
                    file.write(bytes(size))
                if kept is not None:
                    seen.synced[os.stat(path).st_ino] = kept
            injector.lose_power(directory, seen)
            self.assertEqual({name: os.path.getsize(os.path.join(directory, name)) for name in os.listdir(directory)},
                             {"journal": 60, "whole": 50, "ring": 80, "unknown": 30})


if __name__ == "__main__":
    unittest.main()
