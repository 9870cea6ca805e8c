"""Compiles the C programs that run in guests, and keeps them."""

import glob
import os
import subprocess

from . import cache
from .cache import ToolError


def compile_static(source):
    """Compiles a C program to run in any guest: a file, or a directory of them; the path of the executable."""
    files = sorted(glob.glob(os.path.join(glob.escape(source), "*.c"))) if os.path.isdir(source) else [source]
    if not files:
        raise ToolError(f"there is no *.c in {source}")
    compiler = os.environ.get("CC", "gcc")
    command = [compiler, "-O2", "-g", "-pthread", "-static", "-Wall"]

    def compiled(*arguments):
        done = subprocess.run([*command, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              errors="replace")
        if done.returncode != 0:
            errors = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()[-1:]
            raise ToolError(f"{compiler} cannot compile {source}: {(errors or ['?'])[0]}")
        return done.stdout

    # The program is named by all that the compiler sees, headers included.
    destination = cache.path("guests", "bin", cache.digest(" ".join(command), *(compiled("-E", file) for file in files)))
    if not os.path.exists(destination):
        os.makedirs(os.path.dirname(destination), exist_ok=True)
        temporary = f"{destination}.{os.getpid()}.{os.urandom(4).hex()}"
        compiled("-o", temporary, *files)
        os.rename(temporary, destination)
    return destination
