import unittest

from . import injector, points


class Points(unittest.TestCase):
    def draw(self, number, seed="1", **more):
        return points.draw(seed, number, **{"proxies": True, **more})

    def test_a_point_is_known_by_seed_and_number_alone(self):
        all_of_them = [self.draw(i) for i in range(50)]
        self.assertEqual(self.draw(37), all_of_them[37])
        self.assertNotEqual(self.draw(37, seed="2"), all_of_them[37])
        self.assertGreater(len(set(map(str, all_of_them))), 45)

    def test_it_is_within_what_a_run_does(self):
        for number in range(500):
            starts = self.draw(number).starts
            self.assertIn(len(starts), (1, 2))
            self.assertEqual([start.last for start in starts], list(points.STEPS[:len(starts)]))
            for start in starts:
                if start.call:
                    self.assertIn(start.number, range(1, points.CALLS[start.call] + 1))
                    self.assertTrue(start.action)
                else:
                    self.assertIn(start.event, range(points.EVENTS + 1))

    def test_all_kinds_come(self):
        found = [start for number in range(500) for start in self.draw(number).starts]
        self.assertEqual({start.call for start in found if start.call}, set(injector.CALLS))
        self.assertEqual({start.what for start in found if start.event}, set(points.MEANWHILE))
        self.assertTrue(any(start.power for start in found) and any(start.count > 1 for start in found))
        self.assertTrue(any(self.draw(number).keep_little for number in range(50)))

    def test_one_kind_alone_and_no_proxies(self):
        for number in range(100):
            for start in self.draw(number, only="sync").starts:
                self.assertIn(start.call, ("sync", ""))
            for start in self.draw(number, only="second").starts:
                self.assertIn(start.what, ("second", "none"))
            self.assertNotIn("kill-proxy", {start.what for start in self.draw(number, proxies=False).starts})


if __name__ == "__main__":
    unittest.main()
