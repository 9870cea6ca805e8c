# Reads the plan; a child process sends it to the notes service.
import os
import socket

with open("/srv/secret/plan.txt", "rb") as plan:
    text = plan.read()
child = os.fork()
if child == 0:
    notes = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    notes.connect("/run/notes.sock")
    notes.sendall(text)
    os._exit(0)
os.waitpid(child, 0)
