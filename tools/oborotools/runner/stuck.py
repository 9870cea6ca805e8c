"""Evidence of a guest that does not come to an end."""

import os
import re
import socket
import time


def hmp(path, command, patience=5.0):
    """The answer of QEMU's monitor."""
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.settimeout(patience)
        monitor.connect(path)

        def answer():
            text = b""
            while not text.endswith(b"(qemu) "):
                part = monitor.recv(65536)
                if not part:
                    break
                text += part
            return text.decode(errors="replace").replace("\r", "")

        answer()
        monitor.sendall(command.encode() + b"\n")
        return answer().partition("\n")[2]  # behind its echo of the command


def look(emulator, monitor, log_path):
    """Where QEMU is stuck. Returns a word on each vCPU; the log gets registers and threads, twice. `emulator`: its process, or None."""
    if emulator is None:
        return ""
    registers = ""
    with open(log_path, "w") as log:
        for second in (0, 1):
            time.sleep(second)
            try:
                for thread in sorted(os.listdir(f"/proc/{emulator}/task"), key=int):
                    words = []
                    for name in ("comm", "wchan", "schedstat"):  # the last: ns on a processor, ns waited for one, how often
                        with open(f"/proc/{emulator}/task/{thread}/{name}") as handle:
                            words.append(handle.read().strip())
                    log.write(f"{thread} {' '.join(words)}\n")
                registers = hmp(monitor, "info registers -a")
            except OSError as error:
                log.write(f"{error}\n")
            log.write(registers + "\n")
    return vcpus(registers)


def vcpus(registers):
    """Where each vCPU is, as the tail of a sentence, from what `info registers -a` printed."""
    found = re.findall(r"CPU#(\d+)\n.*?[ER]IP=(\w+).*?HLT=(\d)", registers, re.S)
    return "".join(f"; vCPU {number} {'halted at' if halted == '1' else 'at'} {rip}" for number, rip, halted in found)


def was_armed(state):
    """Whether a program ran in the guest: with the first one, the hooks are put in."""
    try:
        with open(os.path.join(state, "events.jsonl")) as handle:
            return any('"kind":"started"' not in line and '"kind":"stopped"' not in line for line in handle)
    except OSError:
        return True  # who knows
