import contextlib
import hashlib
import io
import os
import tempfile
import unittest

from oborotools import aptroot, lock
from oborotools.cache import ToolError

OTHER = "0" * 64


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


class Test(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.top = directory.name
        self.path = os.path.join(self.top, "packages.lock")

    def lock(self, *lines):
        with open(self.path, "w") as out:
            out.write("# a comment\n" + "".join(line + "\n" for line in lines))
        return lock.Lock(self.path)

    def file(self, name, text):
        path = os.path.join(self.top, name)
        with open(path, "w") as out:
            out.write(text)
        return path

    def said(self, pins, files):
        with contextlib.redirect_stderr(io.StringIO()) as err:
            pins.check(files)
        return err.getvalue()


class Check(Test):
    def test_what_is_pinned(self):
        path = self.file("a", "good")
        self.assertEqual(self.said(self.lock(f"x a 1 {digest('good')}"), {path: ("a", "1")}), "")
        self.assertTrue(os.path.exists(path))

    def test_another_content_of_the_same_version(self):
        path = self.file("a", "bad")
        with self.assertRaisesRegex(ToolError, f"a 1: .*SHA-256 {digest('bad')}, .*packages.lock:3 says {digest('good')}; it is not used"):
            self.said(self.lock(f"x b 1 {OTHER}", f"x a 1 {digest('good')}"), {path: ("a", "1")})
        self.assertFalse(os.path.exists(path), "it must not be found by the next run")

    def test_another_version_is_told_and_taken(self):
        files = {self.file(name, "new"): (name, "2") for name in "abcde"}
        said = self.said(self.lock(*(f"x {name} 1 {OTHER}" for name in "abcd")), files)
        self.assertIn("other versions than are pinned; taken, as it has signed them: a 2 (1 is pinned), b 2 (1 is pinned), "
                      "c 2 (1 is pinned) and 1 more", said)
        self.assertIn("not pinned by tools/packages.lock: e 2", said)

    def test_a_damaged_lock(self):
        for line, message in (("x a 1", ":2: not 'WHAT"), ("x a 1 12ab", ":2: not 'WHAT")):
            with self.assertRaisesRegex(ToolError, message):
                self.lock(line)
        with self.assertRaisesRegex(ToolError, ":3: a 1 has another SHA-256 in line 2"):
            self.lock(f"x a 1 {digest('good')}", f"y a 1 {OTHER}")

    def test_this_trees_own_lock_can_be_read(self):
        pins = lock.Lock()
        for what in ("qemu", "libbpf", "kernel-6.1"):
            self.assertTrue(pins.versions(what), what)
        self.assertEqual(pins.lines, sorted(pins.lines))


class Pin(Test):
    def test_replaces_what_was_for_the_same(self):
        pins = self.lock(f"x a 1 {OTHER}", f"x gone 1 {OTHER}", f"y a 2 {OTHER}", f"y b 1 {OTHER}")
        pins.pin("x", {("a", "2"): digest("2")})
        path = self.file("a", "2")
        self.assertEqual(self.said(pins, {path: ("a", "2")}), "", "pinned at once, also for the others' purposes")
        pins.save()
        again = lock.Lock(self.path)
        self.assertEqual(again.lines, [("x", "a", "2", digest("2")), ("y", "a", "2", digest("2")), ("y", "b", "1", OTHER)])
        self.assertEqual(again.versions("x"), {("a", "2")})

    def test_what_no_list_names_is_pinned_as_it_came(self):
        pins = self.lock()
        self.said(pins, {self.file("a", "unlisted"): ("a", "1")})
        self.assertEqual(pins.pinned("a", "1"), digest("unlisted"))
        self.assertIsNone(pins.pinned("a", "2"))


class Apt(aptroot.AptRoot):
    """An archive whose one file is `content`."""

    content = "good"

    def update(self, force=False):
        os.makedirs(os.path.join(self.directory, "archives"), exist_ok=True)

    def _apt(self, arguments):
        if "--print-uris" in arguments:
            if os.path.exists(os.path.join(self.directory, "archives", "b_1%3a2+b9_amd64.deb")):
                return ""  # as apt does
            return f"'uri' b_1%3a2+b9_amd64.deb 4 SHA256:{digest('good')}\n"
        with open(os.path.join(self.directory, "archives", "b_1%3a2+b9_amd64.deb"), "w") as out:
            out.write(self.content)
        return ""


class Download(Test):
    def apt(self, *lines):
        apt = Apt(self.lock(*lines))
        apt.directory = self.top
        return apt

    def test_checked(self):
        apt = self.apt(f"x b 1:2+b9 {digest('good')}")
        self.assertEqual([os.path.basename(name) for name in apt.download(["b=1:2+b9"])], ["b_1%3a2+b9_amd64.deb"])
        apt.content = "bad"
        with self.assertRaisesRegex(ToolError, "b 1:2"):
            apt.download(["b=1:2+b9"])

    def test_what_an_earlier_run_has_left(self):
        apt = self.apt()
        apt.download(["b=1:2+b9"])
        self.assertEqual(len(apt.download(["b=1:2+b9"])), 1)

    def test_hashes_of_the_lists(self):
        self.assertEqual(self.apt().hashes(["b=1:2+b9"]), {("b", "1:2+b9"): digest("good")})
        with self.assertRaisesRegex(ToolError, "no SHA-256"):
            self.apt().hashes(["b=1:2+b9", "c=1"])


if __name__ == "__main__":
    unittest.main()
