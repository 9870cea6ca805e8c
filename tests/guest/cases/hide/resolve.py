# The client of names.case: what the C library makes of the names that are given.
import socket, sys

for name in sys.argv[1:]:
    try:
        found = sorted({entry[4][0] for entry in socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)})
        print(name, len(found), *found[:2])
    except socket.gaierror as error:
        print(name, "does not exist" if error.errno == socket.EAI_NONAME else error)
