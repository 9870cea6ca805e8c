"""The one place below which the tools keep what they fetch and build.

Everything there can be deleted at any time and is made again when it is next asked for.  An entry is either absent or
complete: it is made in a temporary directory on the same file system and then renamed.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time


class ToolError(Exception):
    """Something the user should read as one line: no traceback."""


def root():
    return os.environ.get("OBORO_CACHE") or os.path.join(os.path.expanduser("~"), ".cache", "oboro")


def path(*parts):
    return os.path.join(root(), *parts)


def digest(*parts):
    """The name of an entry that is made from these texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]


def say(text):
    """Progress goes to stderr: stdout carries results only."""
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def progress(what):
    """Says `what` with the elapsed time, every two seconds on a terminal and every ten elsewhere; nothing if it is
    over sooner than two seconds."""
    done = threading.Event()
    begin = time.monotonic()
    tty = sys.stderr.isatty()

    def tick():
        shown = False
        wait = 2.0
        while not done.wait(wait):
            elapsed = int(time.monotonic() - begin)
            if tty:
                print(f"\r\033[K{what} ... {elapsed} s", end="", file=sys.stderr, flush=True)
            else:
                say(f"{what} ... {elapsed} s")
                wait = 10.0
            shown = True
        if shown and tty:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    try:
        yield
    finally:
        done.set()
        ticker.join()
    elapsed = time.monotonic() - begin
    if elapsed >= 2:
        say(f"{what}: done in {elapsed:.1f} s")


@contextlib.contextmanager
def lock(name):
    """Holds an exclusive lock on `name`; the kernel drops it if we die."""
    directory = path("lock")
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, name.replace("/", "-")), "w") as handle:
        patience = time.monotonic() + 2
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > patience:
                    say(f"another run is working on {name}; waiting for it")
                    fcntl.flock(handle, fcntl.LOCK_EX)
                    break
                time.sleep(0.05)
        yield


@contextlib.contextmanager
def making(destination):
    """Gives a temporary directory that becomes `destination` if the block ends without an exception."""
    parent = os.path.dirname(destination)
    os.makedirs(parent, exist_ok=True)
    prefix = f".{os.path.basename(destination)}."
    # Remains of a run that was killed. The caller holds the lock, so nobody else uses them.
    for entry in os.listdir(parent):
        if entry.startswith(prefix):
            shutil.rmtree(os.path.join(parent, entry), ignore_errors=True)
    temporary = tempfile.mkdtemp(prefix=prefix, dir=parent)
    os.chmod(temporary, 0o755)
    try:
        yield temporary
        old = None
        if os.path.lexists(destination):
            old = tempfile.mkdtemp(prefix=prefix, dir=parent)
            os.rename(destination, os.path.join(old, "old"))
        os.rename(temporary, destination)
        if old:
            shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def run(command, error=None, env=None, cwd=None, stdin=None):
    """Runs a command and returns what it printed; on failure raises ToolError with the last telling line."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, cwd=cwd,
                              errors="replace", **({"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}))
    except FileNotFoundError:
        raise ToolError(f"{command[0]} is not installed (tools/dev setup installs what is needed)")
    if done.returncode != 0:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        telling = [line for line in lines if line.startswith(("E:", "Err:", "error", "Error"))] or lines[-1:]
        last = telling[-1].strip() if telling else f"exit status {done.returncode}"
        raise ToolError(f"{error or command[0]}: {last}")
    return done.stdout


def main(function):
    """Turns ToolError and errors of the system into one line and exit status 2, and an interrupt into 130."""
    try:
        sys.exit(function())
    except ToolError as error:
        say(f"{os.path.basename(sys.argv[0])}: {error}")
        sys.exit(2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)
    except OSError as error:
        say(f"{os.path.basename(sys.argv[0])}: {error}")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
