"""A private apt: own lists, sources and archives below the cache, so that packages of several Debian releases can be
resolved, verified and downloaded without root and without touching the system's apt.

The archive is the one the machine is configured for; only the suites are ours.  apt verifies the signatures against the
Debian archive keyring.
"""

import glob
import os
import re
import time

from . import cache, lock
from .cache import ToolError

SUITES = ("trixie", "trixie-backports", "bookworm", "bookworm-backports")
KEYRINGS = ("/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp")
FRESH_SECONDS = 12 * 3600


def keyring():
    for candidate in KEYRINGS:
        if os.path.exists(candidate):
            return candidate
    raise ToolError("the Debian archive keyring is missing: install the package debian-archive-keyring")


def _entries(etc):
    """Yields (uri, suites, components) of every binary source in an apt configuration directory."""
    for name in [f"{etc}/sources.list", *sorted(glob.glob(f"{etc}/sources.list.d/*.list"))]:
        if not os.path.exists(name):
            continue
        with open(name, errors="replace") as lines:
            for line in lines:
                match = re.match(r"\s*deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)\s+([^#]*)", line)
                if match:
                    yield match[1], [match[2]], match[3].split()
    for name in sorted(glob.glob(f"{etc}/sources.list.d/*.sources")):
        with open(name, errors="replace") as text:
            for stanza in re.split(r"\n\s*\n", text.read()):
                fields = {}
                key = None
                for line in stanza.splitlines():
                    if line.startswith("#"):
                        continue
                    if line[:1].isspace() and key:
                        fields[key] += " " + line.strip()
                    elif ":" in line:
                        key, _, value = line.partition(":")
                        key = key.strip().lower()
                        fields[key] = value.strip()
                if fields.get("enabled", "yes").lower() in ("no", "false") or "deb" not in fields.get("types", "").split():
                    continue
                for uri in fields.get("uris", "").split():
                    yield uri, fields.get("suites", "").split(), fields.get("components", "").split()


def archive(etc="/etc/apt"):
    """The URI of the Debian archive this machine uses."""
    override = os.environ.get("OBORO_DEBIAN_ARCHIVE")
    if override:
        return override
    for uri, suites, components in _entries(etc):
        if "main" in components and {"bookworm", "trixie"} & set(suites):
            return uri
    raise ToolError(f"no source for Debian bookworm or trixie in {etc}; name an archive with OBORO_DEBIAN_ARCHIVE=URI")


class AptRoot:
    def __init__(self, pins=None):
        """`pins`: a lock.Lock that what is downloaded is held to; default: that of this tree."""
        self.lock = pins or lock.Lock()
        self.directory = cache.path("apt")
        self.config = os.path.join(self.directory, "apt.conf")
        self.env = dict(os.environ, APT_CONFIG=self.config, LC_ALL="C.UTF-8", DEBIAN_FRONTEND="noninteractive")
        self._ready = False

    def _write(self, name, text):
        """Writes the file if its content differs. Whether it did."""
        target = os.path.join(self.directory, name)
        try:
            with open(target) as old:
                if old.read() == text:
                    return False
        except OSError:
            pass
        with open(target, "w") as new:
            new.write(text)
        return True

    def _prepare(self):
        d = self.directory
        for sub in ("lists/partial", "archives/partial", "empty"):
            os.makedirs(os.path.join(d, sub), exist_ok=True)
        # The machine's proxy and similar settings hold for us too; its index targets (desktop metadata) do not.
        acquire = [line for line in cache.run(["apt-config", "dump", "Acquire"]).splitlines()
                   if not line.startswith(("Acquire::IndexTargets", "Acquire::Languages", "Acquire::GzipIndexes", 'Acquire ""'))]
        self._write("status", "")
        self._write("apt.conf", "\n".join([
            f'Dir::State "{d}";', f'Dir::State::status "{d}/status";', f'Dir::State::lists "{d}/lists";',
            f'Dir::Cache "{d}";', f'Dir::Cache::archives "{d}/archives";', f'Dir::Etc "{d}";',
            f'Dir::Etc::sourcelist "{d}/sources.list";', f'Dir::Etc::sourceparts "{d}/empty";',
            f'Dir::Etc::parts "{d}/empty";', f'Dir::Etc::preferences "{d}/preferences";',
            f'Dir::Etc::preferencesparts "{d}/empty";', f'Dir::Etc::trustedparts "{d}/empty";',
            'APT::Architecture "amd64";', 'APT::Architectures { "amd64"; };', 'APT::Sandbox::User "root";',
            'APT::Install-Recommends "false";', 'APT::Get::Assume-Yes "true";', 'Acquire::Languages "none";',
            'Acquire::GzipIndexes "true";', *acquire,
            'Acquire::Retries "3";', 'Acquire::http::Timeout "30";', ""]))
        return self._write("sources.list", "".join(
            f"deb [signed-by={keyring()}] {archive()} {suite} main\n" for suite in SUITES))

    def update(self, force=False):
        if self._ready and not force:
            return
        os.makedirs(self.directory, exist_ok=True)
        changed = self._prepare()
        stamp = os.path.join(self.directory, "updated")
        try:
            age = time.time() - os.stat(stamp).st_mtime
        except OSError:
            age = FRESH_SECONDS
        if force or changed or age >= FRESH_SECONDS:
            with cache.progress("reading the package lists"):
                cache.run(["apt-get", "-qq", "-o", "APT::Update::Error-Mode=any", "update"], env=self.env,
                          error="cannot read the package lists of " + archive())
            with open(stamp, "w"):
                pass
        self._ready = True

    def names(self, prefix):
        self.update()
        return cache.run(["apt-cache", "pkgnames", prefix], env=self.env).split()

    def newest(self, package, suites=SUITES):
        """(version, suite) of the newest `package` in these suites, or None. (If two suites have the same version, they have
        the same file.)"""
        self.update()
        found = {}
        for line in cache.run(["apt-cache", "madison", package], env=self.env).splitlines():
            name, version, source = (part.strip() for part in line.split("|"))
            suite = source.split()[1].split("/")[0]
            if name == package and suite in suites:
                found.setdefault(version, suite)
        best = None
        for version in found:
            if best is None or newer(version, best):
                best = version
        return (best, found[best]) if best else None

    def depends(self, package, version):
        """[(name, version)] of the packages that a package needs: the first one of alternatives; a version only where no other will do."""
        self.update()
        return dependencies(cache.run(["apt-cache", "show", f"{package}={version}"], env=self.env))

    def closure(self, packages, release):
        """name=version of these packages and all they depend on, as on an empty system."""
        self.update()
        out = self._apt(["-qq", "-s", "-t", release, "install", *packages])
        return [f"{m[1]}={m[2]}" for m in re.finditer(r"^Inst (\S+) \((\S+) ", out, re.M)]

    def download(self, specs):
        """Downloads name=version packages and returns the .deb files, verified by apt, and against the lock."""
        files = [m[1] for m in re.finditer(r"^'\S+' (\S+) ", self._uris(specs), re.M)]
        with cache.progress(f"downloading {len(files)} packages" if len(files) > 1 else f"downloading {specs[0]}"):
            self._apt(["-qq", "download", *specs])
        paths = [os.path.join(self.directory, "archives", name) for name in files]
        self.lock.check({path: lock.of_file(path) for path in paths})
        return paths

    def hashes(self, specs):
        """{(name, version): SHA-256} of name=version packages, as the archive's signed lists have them."""
        found = {lock.of_file(m[1]): m[2] for m in re.finditer(r"^'\S+' (\S+) \d+ SHA256:([0-9a-f]{64})", self._uris(specs), re.M)}
        if len(found) != len(specs):
            raise ToolError(f"the archive's lists have no SHA-256 for {len(specs) - len(found)} of {', '.join(specs)}")
        return found

    def _uris(self, specs):
        self.update()
        archives = os.path.join(self.directory, "archives")
        os.makedirs(archives, exist_ok=True)
        # Of a run that did not come to its end: apt does not name what is there already.
        self.clean(glob.glob(os.path.join(glob.escape(archives), "*.deb")))
        return self._apt(["-qq", "--print-uris", "download", *specs])

    def _apt(self, arguments):
        try:
            return cache.run(["apt-get", *arguments], env=self.env, cwd=os.path.join(self.directory, "archives"))
        except ToolError as error:
            # An archive drops old versions, so a version in our lists may be gone.
            if "404" not in str(error):
                raise
            self.update(force=True)
            return cache.run(["apt-get", *arguments], env=self.env, cwd=os.path.join(self.directory, "archives"))

    def unpack(self, files, into):
        for name in files:
            cache.run(["dpkg-deb", "-x", name, into], error=f"cannot unpack {os.path.basename(name)}")

    def download_from_pool(self, name, package, version):
        """A file of the archive that the lists do not name, so that apt does NOT verify it; the lock does, if it names it. Its path."""
        self.update()
        destination = os.path.join(self.directory, "archives", os.path.basename(name))
        cache.run(["/usr/lib/apt/apt-helper", "download-file", f"{archive().rstrip('/')}/{name}", destination], env=self.env,
                  error=os.path.basename(name))
        self.lock.check({destination: (package, version)})
        return destination

    def unpack_only(self, files, into, member):
        """Unpacks the directory `member` of each package, and nothing else; the files belong to this user."""
        for name in files:
            cache.run(["sh", "-c", 'dpkg-deb --fsys-tarfile "$1" | tar -x --no-same-owner --no-same-permissions -C "$2" "$3"', "sh", name,
                       into, member], error=f"cannot unpack {os.path.basename(name)}")

    def clean(self, files):
        for name in files:
            if os.path.exists(name):
                os.unlink(name)


def dependencies(stanza):
    """[(name, version)] of the field Depends in what `apt-cache show` printed."""
    match = re.search(r"^Depends: (.*)$", stanza, re.M)
    found = []
    for item in match[1].split(",") if match else ():
        words = re.match(r"([^\s(|:]+)[^|(]*(?:\(= ([^)]+)\))?", item.strip())
        found.append((words[1], words[2]))
    return found


def newer(left, right):
    """Whether Debian version `left` is newer than `right`."""
    try:
        cache.run(["dpkg", "--compare-versions", left, "gt", right])
        return True
    except ToolError:
        return False
