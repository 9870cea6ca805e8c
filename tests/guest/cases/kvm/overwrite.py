"""overwrite.py GDB-PORT PORT: a guest says at PORT where a function is ("ADDRESS T NAME"); that function's entry gets a plain
NOP again, by QEMU's gdbstub, as if the guest's kernel had patched it. The guest is answered "overwritten"."""

import socket
import sys
import time

NOP = "0f1f440000"


def command(stub, text):
    """Its answer; what the stub says of itself (that the guest has stopped) is passed over."""
    stub.sendall(b"$%s#%02x" % (text.encode(), sum(text.encode()) % 256))
    packet = b""
    while True:
        more = stub.recv(1)
        if not more:
            raise SystemExit("the gdbstub is gone")
        packet = b"$" if more == b"$" else packet + more
        if packet[-3:-2] == b"#" and packet[:1] == b"$":
            stub.sendall(b"+")
            answer = packet[1:-3].decode()
            if answer[:1] not in ("T", "S"):
                return answer


with socket.create_server(("127.0.0.1", int(sys.argv[2]))) as server:
    guest, _ = server.accept()
address = int(guest.recv(4096).split()[0], 16)
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as stub:
    code = command(stub, "m%x,10" % address)
    # With or without an ENDBR64 before.
    at = address + (4 if code.startswith("f30f1efa") else 0)
    if bytes.fromhex(code)[at - address] != 0xe9:
        raise SystemExit(f"no hook at {at:x}: {code}")
    answer = command(stub, "M%x,5:%s" % (at, NOP))
    if answer != "OK":
        raise SystemExit("not written: " + answer)
    command(stub, "D")  # detach: the guest goes on
    time.sleep(0.5)
guest.sendall(b"overwritten\n")
guest.close()
