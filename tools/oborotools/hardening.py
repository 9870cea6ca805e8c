"""What protects a built file against errors in it, as binutils tell of it."""

import re
import subprocess

CANNOT_SAY = "neither readelf nor objdump could read it"


def _tell(*command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          errors="replace", env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"})
    return done.stdout if done.returncode == 0 else ""


def _segments(told):
    """[(type, file offset, flags)]"""
    return [(m[1], int(m[2], 16), m[3].replace(" ", "")) for m in re.finditer(
        r"^  ([A-Z_]+) +(0x[0-9a-f]+)(?: 0x[0-9a-f]+){4} ([RWE ]{3})", told, re.M)]


def _entries(kind, symbols):
    """The names of functions of ours that others call by address: so they need a landing pad."""
    if kind != "plugin":
        return {"main"}
    return {m[1] for m in re.finditer(r" FUNC +GLOBAL +DEFAULT +\d+ ([^@\s]+)", symbols)}


def _code(path, kind, symbols):
    """What the machine code lacks."""
    wanted, landed = _entries(kind, symbols), set()
    probed, function, before = False, "", ""
    for line in _tell("objdump", "-d", "--no-show-raw-insn", path).splitlines():
        if line.endswith(">:"):
            function = line[line.index("<") + 1:-2]
            before = ""
            continue
        instruction = line.partition("\t")[2]
        if function in wanted:
            if instruction.startswith("endbr64"):
                landed.add(function)
            wanted.discard(function)
        # Each page of a frame of several is touched as it is taken.
        if before.startswith("sub ") and before.split()[1:] == ["$0x1000,%rsp"] and re.match(r"(or|mov)q +\$0x0,\(%rsp\)", instruction):
            probed = True
        before = instruction
    unseen = wanted | (_entries(kind, symbols) - landed)
    if not landed or unseen:
        yield "no CET (-fcf-protection): " + (", ".join(sorted(unseen)) or "no function") + " begins without endbr64"
    if not probed:
        yield "no stack clash protection (-fstack-clash-protection): no frame is taken page by page"


def lacks(path, kind, optimized):
    """What the file at `path` lacks, a line each. `kind`: program, static (a program that needs no libraries) or plugin;
    `optimized`: else the C library has no checks to offer."""
    told = _tell("readelf", "-hldW", path)
    symbols = _tell("readelf", "-W", "--dyn-syms", path) if kind == "plugin" else _tell("readelf", "-Ws", path)
    segments = _segments(told)
    if not segments or not symbols:
        return [CANNOT_SAY]
    found = []

    def need(condition, what):
        if not condition:
            found.append(what)

    types = {type for type, _, _ in segments}
    flags = re.findall(r"\(FLAGS(?:_1)?\) +(?:Flags: )?(.*)$", told, re.M)
    words = set(" ".join(flags).split())
    need(re.search(r"^  Type: +DYN ", told, re.M) and (kind == "plugin" or "PIE" in words), "not position independent (-pie)")
    need(("INTERP" in types) == (kind == "program"), "loaded by ld.so, or not, where it should be the other way")
    need("GNU_RELRO" in types, "no RELRO (-z relro)")
    need({"NOW", "BIND_NOW"} & words or "(BIND_NOW)" in told, "RELRO is not full: symbols are bound late (-z now)")
    need([f for t, _, f in segments if t == "GNU_STACK"] == ["RW"], "the stack is executable (-z noexecstack)")
    need(not [1 for t, _, f in segments if t == "LOAD" and "W" in f and "E" in f], "a segment is writable and executable")
    need(not [1 for t, offset, f in segments if t == "LOAD" and "E" in f and offset == 0],
         "headers and data are executable with the code (-z separate-code)")
    need("(TEXTREL)" not in told and "TEXTREL" not in words, "code is relocated when it is loaded (TEXTREL)")
    need(not re.search(r"\((RPATH|RUNPATH)\)", told), "it looks for libraries in a folder of its own (RPATH)")
    need("Build ID" in _tell("readelf", "-nW", path), "no build ID (--build-id)")
    need(re.search(r" __stack_chk_fail(@|$| )", symbols, re.M), "no stack protector (-fstack-protector-strong)")
    if optimized:
        need(re.search(r" __(?!stack_chk)\w+_chk(@|$| )", symbols, re.M), "nothing is fortified (-D_FORTIFY_SOURCE)")
    return found + list(_code(path, kind, symbols))
