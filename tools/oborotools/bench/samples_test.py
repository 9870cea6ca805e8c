"""Unit tests: statistics of samples."""

import math
import unittest

from oborotools.bench import samples


def pair(boot, on, off, **more):
    return {"boot": boot, "on": [{"p25": on, "cpu": 10 * on}], "off": [{"p25": off, "cpu": 5 * off}], **more}


class SamplesTest(unittest.TestCase):
    def test_spread(self):
        self.assertEqual(samples.spread([3, 1, 2]), (2, 1, 3))
        self.assertEqual(samples.spread([5, 1, 3, 2, 4]), (3, 2, 4))
        self.assertEqual(samples.spread([7]), (7, 7, 7))

    def test_a_boot_counts_once_however_many_samples_it_has(self):
        found = samples.by_boots([{"boot": 1, "v": 1}] * 9 + [{"boot": 2, "v": 3}, {"boot": 3, "v": 2}], lambda sample: sample["v"])
        self.assertEqual(found, (2, 1, 3))

    def test_two_processes_count_by_the_vcpus_time(self):
        self.assertEqual(samples.ratio(pair(1, 3, 2), "getppid", 0), 1.5)
        self.assertEqual(samples.ratio(pair(1, 3, 2), "lat_tcp", 0), 3)
        self.assertEqual(samples.ratio(pair(1, 3, 2, empty=[{"p25": 4}]), "getppid", 0, "empty"), 2)
        self.assertEqual(samples.ns([pair(1, 3, 2), pair(2, 5, 2), pair(2, 4, 2)], "on", "getppid", 0), 4)

    def test_paired_ratio(self):
        self.assertEqual(samples.paired_ratio([2, 9, 8], [1, 3, 2]), 3)
        self.assertEqual(samples.paired_ratio([2], [0]), math.inf)
        self.assertTrue(math.isnan(samples.paired_ratio([0], [0])))
        with self.assertRaises(ValueError):
            samples.paired_ratio([1, 2], [1])

    def test_each_guest_is_first_middle_and_last(self):
        for position in range(3):
            self.assertEqual({order[position] for order in samples.ORDERS}, {"off", "empty", "on"})


if __name__ == "__main__":
    unittest.main()
