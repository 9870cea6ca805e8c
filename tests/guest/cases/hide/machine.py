"""A service whose proxy runs in a machine of its own. machine.py first OTHER PORT: writes, tries who can be reached,
and serves one connection; machine.py again: reads what the first one wrote."""
import errno
import os
import socket
import sys

if sys.argv[1] == "again":
    print("kept", open("/var/secret/deep/file").read(), os.listdir("/var/secret"))
    sys.exit()

os.makedirs("/var/secret/deep", exist_ok=True)
with open("/var/secret/deep/file", "w") as file:
    file.write("what was written")
    file.flush()
    os.fsync(file.fileno())
os.rename("/var/secret/deep", "/var/secret/elsewhere")
os.rename("/var/secret/elsewhere", "/var/secret/deep")

# The host's alias in the machine's network, the name server's, loopback, an address that the host has, and one that the proxy does not
# know of but the machine's routes do.
for address in ("192.0.2.2", "192.0.2.3", "127.0.0.1", "10.199.81.1", "192.0.2.99"):
    with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        said = []
        for call in (lambda: tcp.connect((address, 22)), lambda: udp.sendto(b"x", (address, 53))):
            try:
                call()
                said.append("reached")
            except OSError as error:
                said.append(errno.errorcode[error.errno])
    print("denied" if set(said) <= {"ENETUNREACH", "EHOSTUNREACH"} else "NOT DENIED", address, *said)

with socket.create_connection((sys.argv[2], int(sys.argv[3]))) as other:
    other.sendall(b"count\n" + b"x" * 1000000)
    other.shutdown(socket.SHUT_WR)
    print("other host counted", other.recv(100).decode().strip())

with socket.socket() as server:
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("0.0.0.0", 26514))
    server.listen()
    connection, peer = server.accept()
    connection.sendall(b"you said " + connection.recv(100))
    connection.close()
print("served")
