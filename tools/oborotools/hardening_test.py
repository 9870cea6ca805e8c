import os
import shutil
import subprocess
import tempfile
import unittest

from oborotools import hardening

SOURCE = """\
#include <stdio.h>
#include <unistd.h>
#ifndef PLUGIN
#define oboro_entry main
#endif
__attribute__((visibility("default"))) int oboro_entry(int count, char **words) {
  char line[16384];
  ssize_t size = read(0, line, (size_t)count * 512);
  return size < 0 ? puts(words[0]) : line[size / 2];
}
"""
GOOD = ["-O2", "-fPIC", "-fvisibility=hidden", "-fstack-protector-strong", "-fstack-clash-protection", "-fcf-protection=full",
        "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2", "-Wl,-z,relro", "-Wl,-z,now", "-Wl,-z,noexecstack", "-Wl,-z,separate-code", "-Wl,--build-id=sha1"]


@unittest.skipUnless(shutil.which("gcc"), "this host: has no gcc")
class Hardening(unittest.TestCase):
    def lacks(self, *bad, kind="program"):
        with tempfile.TemporaryDirectory() as work:
            source, built = os.path.join(work, "it.c"), os.path.join(work, "it")
            with open(source, "w") as handle:
                handle.write(SOURCE)
            form = {"program": ["-pie"], "static": ["-static-pie"], "plugin": ["-shared", "-DPLUGIN"]}[kind]
            subprocess.run(["gcc", "-w", *GOOD, *form, *bad, "-o", built, source], check=True)
            return hardening.lacks(built, kind, True)

    def test_all_there(self):
        for kind in ("program", "static", "plugin"):
            self.assertEqual(self.lacks(kind=kind), [], kind)

    def test_each_missing(self):
        for flags, word in ((["-no-pie"], "-pie"), (["-Wl,-z,norelro"], "-z relro"), (["-Wl,-z,lazy"], "-z now"),
                            (["-Wl,-z,execstack"], "-z noexecstack"), (["-Wl,-z,noseparate-code"], "-z separate-code"),
                            (["-Wl,-rpath,/opt"], "RPATH"), (["-Wl,--build-id=none"], "--build-id"),
                            (["-fno-stack-protector"], "-fstack-protector"), (["-U_FORTIFY_SOURCE"], "_FORTIFY_SOURCE"),
                            (["-fcf-protection=none"], "-fcf-protection"), (["-fno-stack-clash-protection"], "-fstack-clash")):
            found = self.lacks(*flags)
            self.assertEqual(len(found), 1, (flags, found))
            self.assertIn(word, found[0], flags)

    def test_of_another_kind(self):
        with tempfile.NamedTemporaryFile() as empty:
            self.assertEqual(hardening.lacks(empty.name, "program", True), [hardening.CANNOT_SAY])


if __name__ == "__main__":
    unittest.main()
