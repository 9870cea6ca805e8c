"""Who can be reached, by TCP and by UDP, of those that echo.py listens for: to.py PORT"""
import errno
import socket
import sys
import time

port = int(sys.argv[1])


def attempt(address, kind):
    # The other host may not be there yet; nobody is waited for who is refused.
    for _ in range(50):
        try:
            with socket.socket(socket.AF_INET, kind) as one:
                one.settimeout(3)
                if kind == socket.SOCK_STREAM:
                    one.connect((address, port))
                    one.sendall(b"echo 4\nword")
                else:
                    one.sendto(b"word", (address, port))
                return "echo" if one.recv(100) == b"word" else "?"
        except (TimeoutError, ConnectionRefusedError) as error:
            said = type(error).__name__
            time.sleep(0.2)
        except OSError as error:
            return errno.errorcode[error.errno]
    return said


for address in ("10.199.87.2", "10.199.87.3", "10.199.87.4", "10.199.87.1", "169.254.169.254"):
    print(address, "tcp", attempt(address, socket.SOCK_STREAM) + ", udp", attempt(address, socket.SOCK_DGRAM))
