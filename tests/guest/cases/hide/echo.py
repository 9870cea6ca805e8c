# The other host of network.case and waits.case: TCP and UDP servers. echo.py ADDRESS PORT
#   PORT    TCP: commands a line each (below); UDP: sends back what comes
#   PORT+1  TCP: discards
# PORT+2 is closed. Commands: "echo N" - sends back the N bytes that follow; "slow N MS" - N bytes, one each MS ms; "give N" - N bytes at
# once; "wait MS" - nothing for so long; "shut" - ends its direction; "reset" - resets the connection; "count" - reads until the end,
# answers how many bytes that were and ends; "urgent" - one byte out of band.
import socket, struct, sys, threading, time

address, port = sys.argv[1], int(sys.argv[2])


def serve(connection):
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream = connection.makefile("rb")
    try:
        while line := stream.readline():
            words = line.decode("latin-1").split()
            if not words:
                continue
            elif words[0] == "echo":
                connection.sendall(stream.read(int(words[1])))
            elif words[0] == "give":
                connection.sendall(bytes(i % 251 for i in range(int(words[1]))))
            elif words[0] == "slow":
                for i in range(int(words[1])):
                    time.sleep(int(words[2]) / 1000)
                    connection.sendall(bytes([97 + i % 26]))
            elif words[0] == "wait":
                time.sleep(int(words[1]) / 1000)
            elif words[0] == "urgent":
                connection.send(b"!", socket.MSG_OOB)
            elif words[0] == "shut":
                connection.shutdown(socket.SHUT_WR)
            elif words[0] == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                stream.close()
                connection.close()
                return
            elif words[0] == "count":
                total = 0
                while data := stream.read(65536):
                    total += len(data)
                connection.sendall(b"%d\n" % total)
                break
    except OSError:
        pass
    stream.close()
    connection.close()


def discard(connection):
    try:
        while connection.recv(65536):
            pass
    except OSError:
        pass
    connection.close()


def listen(number, handler):
    server = socket.create_server((address, number), backlog=50)
    while True:
        threading.Thread(target=handler, args=(server.accept()[0],), daemon=True).start()


threading.Thread(target=listen, args=(port + 1, discard), daemon=True).start()
threading.Thread(target=listen, args=(port, serve), daemon=True).start()
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind((address, port))
while True:
    data, sender = udp.recvfrom(70000)
    if data[:5] == b"delay":
        time.sleep(0.2)
    for i in range(3 if data[:5] == b"three" else 1):
        udp.sendto(data, sender)
