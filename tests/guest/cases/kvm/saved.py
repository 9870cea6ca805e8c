"""saved.py PORT: once a guest connects to PORT + 1, stops it by the monitor at PORT and migrates it to a second QEMU, which is the
same, but for the tracer. Then that one ends, and the first one goes on. It is told at PORT + 1 whether "it lives on" there."""

import os
import pathlib
import re
import socket
import subprocess
import sys
import time

PORT = int(sys.argv[1])
SECONDS = 60


def until(what, look):
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        try:
            if found := look():
                return found
        except OSError:
            pass
        time.sleep(0.1)
    raise SystemExit("never: " + what)


class Monitor:
    def __init__(self, port):
        self.socket = until("a monitor", lambda: socket.create_connection(("127.0.0.1", port)))
        self.answer()

    def answer(self):
        text = b""
        while not text.endswith(b"(qemu) "):
            more = self.socket.recv(65536)
            if not more:
                raise SystemExit("a QEMU is gone")
            text += more
        return text.decode(errors="replace")

    def say(self, command):
        self.socket.sendall(command.encode() + b"\n")
        return self.answer()


def arguments_of_qemu():
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")[:-1]
            if words and f"tcp:127.0.0.1:{PORT},server,nowait".encode() in words and b"-accel" in words:
                return [os.readlink(process / "exe").encode()] + words[1:]
        except OSError:
            pass
    raise SystemExit("no QEMU")


server = socket.create_server(("127.0.0.1", PORT + 1))
server.accept()
first = Monitor(PORT)
first.say("stop")
words = arguments_of_qemu()
words[words.index(f"tcp:127.0.0.1:{PORT},server,nowait".encode())] = f"tcp:127.0.0.1:{PORT + 2},server,nowait".encode()
with open("second", "wb") as out:
    second = subprocess.Popen(
        words + [b"-incoming", f"tcp:127.0.0.1:{PORT + 3}".encode()],
        stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
there = Monitor(PORT + 2)
first.say(f"migrate -d tcp:127.0.0.1:{PORT + 3}")
until("the end of the migration", lambda: re.search("Migration status: (completed|failed)", first.say("info migrate")))
print(re.search("Migration status: .*", first.say("info migrate"))[0])
# It was stopped when it left, and may be on its way in still.
until("the second one's start", lambda: there.say("cont") and "running" in there.say("info status"))
verdict = "it does not live on"
try:
    until("a sign of life", lambda: re.search("step [5-9]", pathlib.Path("second").read_text(errors="replace")))
    verdict = "it lives on"
finally:
    print(there.say("info status") if second.poll() is None else "ended")
    second.kill()
    print(pathlib.Path("second").read_text(errors="replace")[-2000:])
    first.say("cont")
    guest, _ = server.accept()
    guest.sendall(verdict.encode() + b"\n")
    guest.close()
