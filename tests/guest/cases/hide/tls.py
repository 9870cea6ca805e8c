# The receiver of rsyslog-tls.case: takes TLS connections and prints each line that comes. tls.py ADDRESS PORT CERTIFICATE KEY
import socket, ssl, sys, threading

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[3], sys.argv[4])


def serve(connection):
    try:
        with context.wrap_socket(connection, server_side=True) as secured:
            print("connection", secured.version(), flush=True)
            for line in secured.makefile(errors="replace"):
                print(line, end="", flush=True)
    except OSError as error:
        print("connection failed:", error, flush=True)


server = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=50)
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
