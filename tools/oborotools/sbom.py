"""What is in a build: its files, and what of others is in them, is needed by them, has built and tested them; as SPDX."""

import datetime
import json
import os
import re
import urllib.parse

from . import cache, lock, parts, shipped, spdx
from .cache import ToolError

LICENCE = "GPL-2.0-or-later"
TOOLS = ("ar", "as", "ld")  # beside the compiler


def created(source):
    """The time that the document says: SOURCE_DATE_EPOCH, else that of the commit, so that it is the same for the same source."""
    seconds = os.environ.get("SOURCE_DATE_EPOCH")
    if seconds is None:
        seconds = cache.run(["git", "-C", source, "log", "-1", "--format=%ct"],
                            error="no commit to take the time from (SOURCE_DATE_EPOCH says it without one)").strip()
    if not seconds.isdigit():
        raise ToolError(f"SOURCE_DATE_EPOCH is '{seconds}', which is no number of seconds")
    return datetime.datetime.fromtimestamp(int(seconds), datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def settings(build):
    """CMake's cache."""
    with open(os.path.join(build, "CMakeCache.txt")) as handle:
        return dict(re.findall(r"^(\w+):\w+=(.*)$", handle.read(), re.M))


def _distribution():
    with open("/etc/os-release") as handle:
        found = re.search(r"^ID=\"?(\w+)", handle.read(), re.M)
    return found[1] if found else "debian"


class Sbom:
    def __init__(self, build):
        self.build = os.path.realpath(build)
        self.shipped = shipped.files(self.build)
        self.settings = settings(self.build)
        self.source = self.settings["CMAKE_HOME_DIRECTORY"]
        self.pins = {(package, version): digest for _, package, version, digest in lock.Lock().lines}
        self.distribution = _distribution()
        self.packages, self.files, self.relationships = {}, [], set()

    def package(self, found):
        """The identifier of a Debian package, which the document then has."""
        name = spdx.identifier("Package", found.name, found.version)
        if name in self.packages:
            return name
        locator = f"pkg:deb/{self.distribution}/{urllib.parse.quote(found.name)}@{urllib.parse.quote(found.version, safe='')}?arch=amd64"
        entry = self._entry(name, found.name, found.version, found.licence)
        entry["externalRefs"] = [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": locator}]
        digest = self.pins.get((found.name, found.version))
        if digest:
            entry["checksums"] = [{"algorithm": "SHA256", "checksumValue": digest}]
        self.packages[name] = entry
        return name

    def _entry(self, name, called, version, licence):
        return {"SPDXID": name, "name": called, "versionInfo": version, "downloadLocation": "NOASSERTION", "filesAnalyzed": False,
                "licenseConcluded": "NOASSERTION", "licenseDeclared": licence, "copyrightText": "NOASSERTION"}

    def relate(self, one, kind, other):
        self.relationships.add((one, kind, other))

    def document(self):
        own = "SPDXRef-Package-oboro"
        version = self.settings["CMAKE_PROJECT_VERSION"]
        deps, owners = parts.headers(self.build), parts.Owners()
        for one in self.shipped:
            name = spdx.identifier("File", one.name)
            self.files.append({"SPDXID": name, "fileName": "./" + one.name, "fileTypes": ["BINARY"], "checksums": spdx.checksums(one.path),
                               "licenseConcluded": LICENCE, "licenseInfoInFiles": [LICENCE], "copyrightText": "NOASSERTION"})
            self.relate(own, "CONTAINS", name)
            found = parts.of_file(self.build, self.source, one.name, deps, owners)
            for package in found["dynamic"]:
                self.relate(name, "DYNAMIC_LINK", self.package(package))
            for package in found["static"]:
                self.relate(name, "STATIC_LINK", self.package(package))
            for package in found["headers"]:
                self.relate(self.package(package), "BUILD_DEPENDENCY_OF", name)
        for package in owners.of(self.tools()):
            self.relate(self.package(package), "BUILD_TOOL_OF", own)
        for purpose, package, tested, _ in lock.Lock().lines:
            if purpose == "qemu" or purpose.startswith("kernel-"):
                self.relate(self.package(parts.Package(package, tested)), "TEST_DEPENDENCY_OF", own)
        self.relate("SPDXRef-DOCUMENT", "DESCRIBES", own)
        entry = self._entry(own, "oboro", version, LICENCE)
        entry.update(filesAnalyzed=True, licenseConcluded=LICENCE, licenseInfoFromFiles=[LICENCE], primaryPackagePurpose="APPLICATION",
                     packageVerificationCode={"packageVerificationCodeValue": spdx.verification_code(self.files)})
        return {
            "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": f"oboro-{version}", "documentNamespace": "urn:",
            "creationInfo": {"created": created(self.source), "creators": [f"Tool: oboro-sbom-{version}"]},
            "packages": [entry, *(self.packages[name] for name in sorted(self.packages))],
            "files": self.files,
            "relationships": [{"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}
                              for one, kind, other in sorted(self.relationships)],
        }

    def tools(self):
        """The programs that have made the build."""
        compiler = self.settings["CMAKE_CXX_COMPILER"]
        found = {os.path.realpath(compiler), os.path.realpath(self.settings["CMAKE_COMMAND"])}
        for name in TOOLS:
            path = cache.run([compiler, f"-print-prog-name={name}"]).strip()
            found.add(os.path.realpath(path if "/" in path else f"/usr/bin/{name}"))
        return found


def write(build, destination):
    """Writes the document of the build in the folder `build`; it is valid, or not written."""
    text = spdx.text(Sbom(build).document())
    bad = spdx.faults(json.loads(text))
    if bad:
        raise ToolError(f"the document would not be valid: {bad[0]}")
    with open(destination + ".new", "w") as out:
        out.write(text)
    os.rename(destination + ".new", destination)
