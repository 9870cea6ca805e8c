"""Reads a guest's console and the logs beside it."""

import os
import re

BEGIN = re.compile(r"^@oboro begin (\d+)\r?$", re.M)
END = re.compile(r"^@oboro end (\d+) status=(\d+)\r?$", re.M)
FAILED = re.compile(r"^@oboro failed (.*)$", re.M)
PANIC = re.compile(r"Kernel panic - not syncing.*")
TERMINAL_NOISE = re.compile(r"\x1b(\[[0-9;?=]*[A-Za-z]|c)|\x1b")


def text_of(path, begin=0):
    """The file's text from this byte on; nothing where there is no file."""
    try:
        with open(path, "rb") as handle:
            handle.seek(begin)
            return handle.read().decode(errors="replace").replace("\r", "")
    except OSError:
        return ""


def output(text):
    """The output of the scripts, without the markers and everything around them."""
    parts = []
    for begin in BEGIN.finditer(text):
        end = END.search(text, begin.end())
        parts.append(text[begin.end() + 1:end.start() if end else len(text)])
    return "".join(parts)


def last_words(*names):
    """The last line of the first of these files that has one, as the tail of a sentence."""
    for name in names:
        try:
            with open(name, errors="replace") as handle:
                lines = [TERMINAL_NOISE.sub("", line).strip() for line in handle]
        except OSError:
            continue
        lines = [line for line in lines if line]
        if lines:
            return f"; last line of {os.path.basename(name)}: {lines[-1][:200]}"
    return ""


def came_to(text, boots, status, words, cut_short=0):
    """The exit statuses of the scripts of all boots, or (None, why they are not all there). `status`: of oboro run, which is over. `cut_short`: so
    many scripts may have been killed, but not the last one."""
    if failed := FAILED.search(text):
        return None, f"the guest could not run the case: {failed[1].strip()}"
    ends = END.findall(text)
    if len(ends) < boots - cut_short or not any(int(boot) == boots for boot, _ in ends):
        panic = re.search(r"Kernel panic - not syncing: .*", text)
        why = f"the guest's kernel panicked: {panic[0].strip()}" if panic else f"oboro run ended (status {status}) before the case's script did"
        return None, f"{why}, in boot {len(BEGIN.findall(text)) or 1} of {boots}{words}"
    return [int(found) for _, found in ends], None
