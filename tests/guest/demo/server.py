# A service with a UNIX socket that keeps what it is sent.
import socket

service = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
service.bind("/run/notes.sock")
service.listen()
client, _ = service.accept()
with open("/var/lib/notes", "wb") as notes:
    while data := client.recv(4096):
        notes.write(data)
