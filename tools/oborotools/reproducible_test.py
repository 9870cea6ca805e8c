import os
import shutil
import subprocess
import tempfile
import unittest

from oborotools import reproducible


@unittest.skipUnless(shutil.which("gcc"), "this host: has no gcc")
class Difference(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.top = directory.name

    def built(self, folder, source, *flags):
        folder = os.path.join(self.top, folder)
        os.makedirs(folder)
        path = os.path.join(folder, "it.c")
        with open(path, "w") as out:
            out.write(source)
        subprocess.run(["gcc", "-w", *flags, f"-ffile-prefix-map={folder}/=", "-c", "-o", path + ".o", path], check=True)
        return path + ".o"

    def test_none(self):
        source = "const char *file = __FILE__;"
        self.assertEqual(reproducible.difference(self.built("a", source), self.built("longer", source), ()), "")

    def test_a_folder_in_it(self):
        one, other = (self.built(name, f'char file[] = "{self.top}/{name}/it.c";') for name in ("a", "longer"))
        found = reproducible.difference(one, other, (os.path.dirname(one), os.path.dirname(other)))
        self.assertIn("sections .data", found)
        self.assertIn(f"{other} has the name of its folder: {self.top}/longer/it.c", found)

    def test_what_is_copied(self):
        source, destination = (os.path.join(self.top, name) for name in ("source", "copy"))
        os.makedirs(os.path.join(source, "build"))
        subprocess.run(["git", "init", "-q", source], check=True)
        for name, text in ((".gitignore", "/build/\n"), ("new.c", "1"), ("build/old.o", "2")):
            with open(os.path.join(source, name), "w") as out:
                out.write(text)
        reproducible.copy(source, destination)
        self.assertEqual(sorted(os.listdir(destination)), [".gitignore", "new.c"])


if __name__ == "__main__":
    unittest.main()
