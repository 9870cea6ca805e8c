"""Unit tests: which packages a kernel is made of, by package lists as they were."""

import io
import os
import re
import subprocess
import tarfile
import tempfile
import unittest

from oborotools import aptroot, kernels
from oborotools.cache import ToolError

RECORDED = os.path.join(os.path.dirname(os.path.realpath(__file__)), "testdata", "kernels.packages")


class RecordedApt:
    """Answers as AptRoot does, from stanzas of package lists."""

    def __init__(self, without=()):
        with open(RECORDED) as handle:
            stanzas = [text for text in handle.read().split("\n\n") if "Package:" in text]
        self.stanzas = {}
        for text in stanzas:
            name, version = (re.search(rf"^{field}: (.*)$", text, re.M)[1] for field in ("Package", "Version"))
            if name not in without:
                self.stanzas[name] = (version, text)
        self.asked_of_pool = []

    def names(self, prefix):
        return [name for name in self.stanzas if name.startswith(prefix)]

    def newest(self, package):
        return (self.stanzas[package][0], "suite") if package in self.stanzas else None

    def depends(self, package, version):
        assert self.stanzas[package][0] == version
        return aptroot.dependencies(self.stanzas[package][1])

    def download_from_pool(self, name, package, version):
        self.asked_of_pool.append(name)
        raise ToolError("404 Not Found")


class ResolveTest(unittest.TestCase):
    def test_one_package_holds_all(self):
        kernel = kernels.resolve(RecordedApt(), "6.17")
        self.assertEqual(str(kernel), "linux-image-6.17.13+deb13-cloud-amd64 6.17.13-1~bpo13+1")
        self.assertEqual([part.name for part in kernel.listed], ["linux-image-6.17.13+deb13-cloud-amd64"])
        self.assertEqual(kernel.unlisted, [])

    def test_documentation_is_no_part_of_it(self):
        kernel = kernels.resolve(RecordedApt(), "6.18")
        self.assertEqual([part.name for part in kernel.listed], ["linux-image-6.18.15+deb13-cloud-amd64"])
        self.assertEqual(kernel.unlisted, [])

    def test_image_and_modules_apart(self):
        kernel = kernels.resolve(RecordedApt(), "7.2")
        self.assertEqual(sorted(part.name.removesuffix("-7.2.12+deb13-cloud-amd64") for part in kernel.listed),
                         ["linux-base", "linux-binary", "linux-image", "linux-modules"])
        self.assertEqual(kernel.unlisted, [])

    def test_full_kernel(self):
        self.assertEqual(kernels.resolve(RecordedApt(), "7.2-full").image.name, "linux-image-7.2.12+deb13-amd64")

    def test_modules_that_the_lists_have_dropped(self):
        kernel = kernels.resolve(RecordedApt(), "7.0")
        self.assertEqual(str(kernel), "linux-image-7.0.13+deb13-cloud-amd64 7.0.13-1~bpo13+1")
        self.assertEqual([part.name for part in kernel.listed],
                         ["linux-image-7.0.13+deb13-cloud-amd64", "linux-binary-7.0.13+deb13-cloud-amd64"])
        self.assertEqual([part.file for part in kernel.unlisted],
                         ["linux-base-7.0.13+deb13-cloud-amd64_7.0.13-1~bpo13+1_amd64.deb",
                          "linux-modules-7.0.13+deb13-cloud-amd64_7.0.13-1~bpo13+1_amd64.deb"])

    def test_an_older_one_that_is_whole_before_a_newer_one_that_is_not(self):
        kernel = kernels.resolve(RecordedApt(without=["linux-modules-7.2.12+deb13-cloud-amd64"]), "7.2")
        self.assertEqual(kernel.image.name, "linux-image-7.2.9+deb13-cloud-amd64")
        self.assertEqual(kernel.unlisted, [])

    def test_the_one_that_is_pinned_before_a_newer_one(self):
        older = ("linux-image-7.2.9+deb13-cloud-amd64", "7.2.9-1~bpo13+1")
        self.assertEqual(kernels.resolve(RecordedApt(), "7.2", {older}).image.name, older[0])
        self.assertNotEqual(kernels.resolve(RecordedApt(), "7.2", {("linux-image-7.2.1", "7.2.1")}).image.name, older[0])

    def test_no_such_kernel(self):
        with self.assertRaisesRegex(ToolError, "the archive has no kernel 5.10"):
            kernels.resolve(RecordedApt(), "5.10")
        for key in ("7", "7.0-rt", "7.0; rm", "../6.1"):
            with self.assertRaisesRegex(ToolError, "is no kernel"):
                kernels.resolve(RecordedApt(), key)

    def test_what_the_pool_has_not_is_named(self):
        apt = RecordedApt()
        with self.assertRaisesRegex(ToolError, "lists name linux-image-7.0.13.*, but not linux-base-7.0.13.*404.*OBORO_DEBIAN_ARCHIVE"):
            kernels.unpack_unlisted(apt, kernels.resolve(apt, "7.0"), "/nowhere")
        self.assertEqual(apt.asked_of_pool, ["pool/main/l/linux/linux-base-7.0.13+deb13-cloud-amd64_7.0.13-1~bpo13+1_amd64.deb"])


class PackageTest(unittest.TestCase):
    def test_an_epoch_is_not_in_the_name_of_a_file(self):
        self.assertEqual(kernels.Package("a", "1:2.3-4").file, "a_2.3-4_amd64.deb")

    def test_dependencies(self):
        found = aptroot.dependencies("Package: x\nDepends: dracut | initramfs-tools (>= 0.120) | y, kmod, a-1 (= 1.2-3~bpo13+1), "
                                     "b:any (>= 2), c | d (= 1)\nSuite: z\n")
        self.assertEqual(found, [("dracut", None), ("kmod", None), ("a-1", "1.2-3~bpo13+1"), ("b", None), ("c", None)])
        self.assertEqual(aptroot.dependencies("Package: x\n"), [])


class UnlistedTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.top = directory.name

    def deb(self, files):
        """A package of these files, as nobody's tools would make it: (name, what it links to or None, mode)."""
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as archive:
            for name, link, mode in files:
                entry = tarfile.TarInfo(name)
                entry.mode, entry.uid = mode, 12345
                entry.type, entry.linkname = (tarfile.SYMTYPE, link) if link else (tarfile.REGTYPE, "")
                archive.addfile(entry)
        control = io.BytesIO()
        with tarfile.open(fileobj=control, mode="w") as archive:
            text = b"Package: x\nVersion: 1\nArchitecture: amd64\nMaintainer: x\nDescription: x\n"
            entry = tarfile.TarInfo("./control")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))
        path = os.path.join(self.top, "x.deb")
        with open(path, "wb") as out:
            out.write(b"!<arch>\n")
            for name, content in (("debian-binary", b"2.0\n"), ("control.tar", control.getvalue()), ("data.tar", data.getvalue())):
                out.write(f"{name:16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode() + content + b"\n" * (len(content) % 2))
        return path

    def test_only_modules_are_taken(self):
        apt = aptroot.AptRoot()
        deb = self.deb([("./usr/lib/modules/7.0/a.ko", None, 0o4755), ("./usr/bin/evil", None, 0o4755), ("./boot/vmlinuz-7.0", None, 0o644)])
        tree = os.path.join(self.top, "tree")
        os.mkdir(tree)
        apt.unpack_only([deb], tree, "./usr/lib/modules")
        found = subprocess.run(["find", tree, "-type", "f", "-printf", "%P %m\n"], stdout=subprocess.PIPE, text=True).stdout
        self.assertEqual(found, "usr/lib/modules/7.0/a.ko 755\n")

    def test_the_kernel_is_to_insist_on_signatures(self):
        image, part = kernels.Package("i", "1"), kernels.Package("m", "1")
        kernels.mark(self.top, kernels.Kernel(image, [image, part], []))
        self.assertNotIn("sig_enforce", kernels.boot_options(self.top))
        kernels.mark(self.top, kernels.Kernel(image, [image], [part]))
        self.assertIn(" module.sig_enforce=1", kernels.boot_options(self.top))


if __name__ == "__main__":
    unittest.main()
