"""SPDX 2.3 documents: written, and held to the rules of its specification that concern what we write."""

import hashlib
import json
import re
import uuid

NONE = ("NONE", "NOASSERTION")
ID = re.compile(r"SPDXRef-[A-Za-z0-9.-]+")
FILE_TYPES = {"SOURCE", "BINARY", "ARCHIVE", "APPLICATION", "AUDIO", "IMAGE", "TEXT", "VIDEO", "DOCUMENTATION", "SPDX", "OTHER"}
RELATIONSHIPS = {"DESCRIBES", "CONTAINS", "DYNAMIC_LINK", "STATIC_LINK", "BUILD_DEPENDENCY_OF", "BUILD_TOOL_OF", "TEST_DEPENDENCY_OF"}
LENGTHS = {"SHA1": 40, "SHA256": 64}


def identifier(kind, *words):
    return f"SPDXRef-{kind}-" + re.sub(r"[^A-Za-z0-9.-]", "-", "-".join(words))


def checksums(path):
    with open(path, "rb") as handle:
        data = handle.read()
    return [{"algorithm": "SHA1", "checksumValue": hashlib.sha1(data).hexdigest()},
            {"algorithm": "SHA256", "checksumValue": hashlib.sha256(data).hexdigest()}]


def _sha1(entry):
    return next((c["checksumValue"] for c in entry.get("checksums", ()) if c.get("algorithm") == "SHA1"), "")


def verification_code(files):
    """Of a package that consists of these files: clause 7.9 of the specification."""
    return hashlib.sha1("".join(sorted(_sha1(one) for one in files)).encode()).hexdigest()


def text(document):
    """The document as text, always the same for the same content; its name space is made of that."""
    content = json.dumps(document, sort_keys=True)
    document = {**document, "documentNamespace": "urn:uuid:" + str(uuid.uuid5(uuid.NAMESPACE_OID, content))}
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


def faults(document):
    """What is wrong with a document, a line each."""
    found = []

    def need(condition, what):
        if not condition:
            found.append(what)

    def required(entry, where, **fields):
        for name, kind in fields.items():
            need(isinstance(entry.get(name), kind) and entry[name] != "", f"{where}: {name} is missing or no {kind.__name__}")

    def checked(entry, where, algorithms):
        sums = {c.get("algorithm"): c.get("checksumValue", "") for c in entry.get("checksums", ())}
        for algorithm in algorithms:
            need(algorithm in sums, f"{where}: no {algorithm}")
        for algorithm, value in sums.items():
            need(algorithm in LENGTHS and re.fullmatch("[0-9a-f]{%d}" % LENGTHS.get(algorithm, 0), value), f"{where}: '{value}' is no {algorithm}")

    required(document, "document", spdxVersion=str, dataLicense=str, SPDXID=str, name=str, documentNamespace=str, creationInfo=dict,
             packages=list, relationships=list)
    if found:
        return found
    need(document["spdxVersion"] == "SPDX-2.3", "document: spdxVersion is not SPDX-2.3")
    need(document["dataLicense"] == "CC0-1.0", "document: dataLicense is not CC0-1.0")
    need(document["SPDXID"] == "SPDXRef-DOCUMENT", "document: SPDXID is not SPDXRef-DOCUMENT")
    need(re.fullmatch(r"[a-z][a-z0-9+.-]*:[^#\s]+", document["documentNamespace"]), "document: documentNamespace is no URI, or has a #")
    creation = document["creationInfo"]
    need(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", str(creation.get("created"))), "creationInfo: created is no UTC time")
    need(creation.get("creators") and all(re.match(r"(Tool|Person|Organization): .", c) for c in creation["creators"]),
         "creationInfo: no creators, or not as Tool, Person or Organization")

    ids = ["SPDXRef-DOCUMENT"]
    contained = {(r.get("spdxElementId"), r.get("relatedSpdxElement")) for r in document["relationships"] if r.get("relationshipType") == "CONTAINS"}
    for package in document["packages"]:
        where = f"package {package.get('name')}"
        required(package, where, name=str, SPDXID=str, downloadLocation=str, licenseConcluded=str, licenseDeclared=str, copyrightText=str)
        ids.append(package.get("SPDXID", ""))
        checked(package, where, ())
        if package.get("filesAnalyzed", True):
            code = package.get("packageVerificationCode", {}).get("packageVerificationCodeValue")
            files = [one for one in document.get("files", ()) if (package.get("SPDXID"), one.get("SPDXID")) in contained]
            need(files and code == verification_code(files), f"{where}: packageVerificationCode is not that of its files")
            need(package.get("licenseInfoFromFiles"), f"{where}: no licenseInfoFromFiles")
        else:
            need("packageVerificationCode" not in package and "licenseInfoFromFiles" not in package,
                 f"{where}: tells of files that were not analyzed")
        for reference in package.get("externalRefs", ()):
            required(reference, where, referenceCategory=str, referenceType=str, referenceLocator=str)
    for one in document.get("files", ()):
        where = f"file {one.get('fileName')}"
        required(one, where, fileName=str, SPDXID=str, licenseConcluded=str, licenseInfoInFiles=list, copyrightText=str)
        ids.append(one.get("SPDXID", ""))
        need(str(one.get("fileName")).startswith("./"), f"{where}: the name is not relative to its package")
        need(set(one.get("fileTypes", ())) <= FILE_TYPES, f"{where}: a file type that SPDX has not")
        checked(one, where, ("SHA1",))
    for name in ids:
        need(ID.fullmatch(name), f"'{name}' is no SPDX identifier")
    need(len(ids) == len(set(ids)), "two elements have one SPDXID: " + ", ".join(sorted({i for i in ids if ids.count(i) > 1})))
    for relationship in document["relationships"]:
        ends = [relationship.get(name) for name in ("spdxElementId", "relatedSpdxElement")]
        for end in ends:
            need(end in ids or end in NONE, f"relationship: there is no {end}")
        need(relationship.get("relationshipType") in RELATIONSHIPS, f"relationship: '{relationship.get('relationshipType')}' is not known")
    need(any(r.get("spdxElementId") == "SPDXRef-DOCUMENT" and r.get("relationshipType") == "DESCRIBES" for r in document["relationships"]),
         "the document describes nothing")
    return found
