import copy
import hashlib
import json
import os
import tempfile
import unittest

from oborotools import parts, spdx


def document():
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"content")
        file.flush()
        sums = spdx.checksums(file.name)
    one = {"SPDXID": "SPDXRef-File-a", "fileName": "./a", "fileTypes": ["BINARY"], "checksums": sums, "licenseConcluded": "MIT",
           "licenseInfoInFiles": ["MIT"], "copyrightText": "NOASSERTION"}
    package = {"SPDXID": "SPDXRef-Package-a", "name": "a", "downloadLocation": "NOASSERTION", "filesAnalyzed": True, "licenseConcluded": "MIT",
               "licenseDeclared": "MIT", "licenseInfoFromFiles": ["MIT"], "copyrightText": "NOASSERTION",
               "packageVerificationCode": {"packageVerificationCodeValue": spdx.verification_code([one])}}
    return {"spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": "a", "documentNamespace": "urn:uuid:1",
            "creationInfo": {"created": "2026-01-01T00:00:00Z", "creators": ["Tool: x"]}, "packages": [package], "files": [one],
            "relationships": [{"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": "SPDXRef-Package-a"},
                              {"spdxElementId": "SPDXRef-Package-a", "relationshipType": "CONTAINS", "relatedSpdxElement": "SPDXRef-File-a"}]}


class Faults(unittest.TestCase):
    def test_none(self):
        self.assertEqual(spdx.faults(document()), [])

    def test_each(self):
        def change(*path, value=None):
            changed = copy.deepcopy(document())
            entry = changed
            for step in path[:-1]:
                entry = entry[step]
            if value is None:
                del entry[path[-1]]
            else:
                entry[path[-1]] = value
            return spdx.faults(changed)

        for name in ("spdxVersion", "dataLicense", "SPDXID", "name", "documentNamespace", "creationInfo", "packages", "relationships"):
            self.assertIn(f"document: {name} is missing", change(name)[0])
        for name in ("name", "SPDXID", "downloadLocation", "licenseConcluded", "licenseDeclared", "copyrightText"):
            self.assertIn(f"{name} is missing", change("packages", 0, name)[0])
        for name in ("fileName", "SPDXID", "licenseConcluded", "licenseInfoInFiles", "copyrightText"):
            self.assertIn(f"{name} is missing", " ".join(change("files", 0, name)))
        for path, value, message in (
                (("spdxVersion",), "SPDX-3.0", "not SPDX-2.3"), (("dataLicense",), "MIT", "not CC0"), (("documentNamespace",), "urn:a#b", "no URI"),
                (("creationInfo", "created"), "2026-01-01", "no UTC time"), (("creationInfo", "creators"), ["me"], "no creators"),
                (("packages", 0, "SPDXID"), "SPDXRef-a+b", "no SPDX identifier"), (("packages", 0, "SPDXID"), "SPDXRef-File-a", "two elements"),
                (("files", 0, "fileName"), "/a", "not relative"), (("files", 0, "fileTypes"), ["ELF"], "file type"),
                (("files", 0, "checksums"), [], "no SHA1"), (("files", 0, "checksums", 1, "checksumValue"), "xy", "is no SHA256"),
                (("files", 0, "checksums", 0, "checksumValue"), "0" * 40, "packageVerificationCode"),
                (("packages", 0, "filesAnalyzed"), False, "not analyzed"), (("relationships", 0, "relatedSpdxElement"), "SPDXRef-b", "no SPDXRef-b"),
                (("relationships", 0, "relationshipType"), "LIKES", "not known"), (("relationships", 0, "relationshipType"), "CONTAINS", "describes nothing")):
            self.assertIn(message, " ".join(change(*path, value=value)), path)

    def test_the_code_of_a_package_as_the_specification_has_it(self):
        files = [{"checksums": [{"algorithm": "SHA1", "checksumValue": value}]} for value in ("b" * 40, "a" * 40)]
        self.assertEqual(spdx.verification_code(files), hashlib.sha1(("a" * 40 + "b" * 40).encode()).hexdigest())

    def test_a_name_space_of_the_content(self):
        one, two = (json.loads(spdx.text({**document(), "name": name}))["documentNamespace"] for name in "ab")
        self.assertNotEqual(one, two)
        self.assertEqual(spdx.text(document()), spdx.text(document()))


class Licence(unittest.TestCase):
    def test_of_copyright_files(self):
        with tempfile.TemporaryDirectory() as work:
            path = os.path.join(work, "copyright")
            for text, expected in (("Format: x\n\nFiles: *\nCopyright: 1\n 2\nLicense: Expat\n text\n\nFiles: debian/*\nLicense: GPL-2+\n", "MIT"),
                                   ("Files: *\nCopyright: 1\nLicense: Odd\n", "NOASSERTION"),
                                   ("Files: *\nCopyright: 1\n\nFiles: b\nLicense: Expat\n", "NOASSERTION"), ("This is free", "NOASSERTION")):
                with open(path, "w") as out:
                    out.write(text)
                self.assertEqual(parts.licence(path), expected, text)
            self.assertEqual(parts.licence(path + "x"), "NOASSERTION")


if __name__ == "__main__":
    unittest.main()
