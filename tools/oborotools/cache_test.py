import os
import subprocess
import unittest

TOOLS = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))


class MainTest(unittest.TestCase):
    def test_a_cache_that_cannot_be_made_is_one_clear_line(self):
        done = subprocess.run(
            [os.path.join(TOOLS, "fetch"), "qemu"],
            env={**os.environ, "OBORO_CACHE": "/proc/none"}, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 2)
        self.assertEqual(done.stdout, "")
        self.assertRegex(done.stderr, r"\Afetch: .*/proc/none.*\n\Z")


if __name__ == "__main__":
    unittest.main()
