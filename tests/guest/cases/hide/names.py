# The name server of names.case, by UDP and by TCP, and at another address nothing. names.py ADDRESS PORT. Prints each question.
#   log.example, six.example, both.example  have addresses; none.example and all that is not here do not exist
#   large.example  answers by UDP that the answer is too long: it comes by TCP
#   lost.example   the first questions by UDP are lost
import ipaddress, socket, struct, sys, threading

NAMES = {
    "log.example": ["10.199.86.2"],
    "six.example": ["2001:db8::6"],
    "both.example": ["10.199.86.2", "2001:db8::7"],
    "large.example": [f"10.0.0.{i + 1}" for i in range(40)],
    "lost.example": ["10.199.86.4"],
}
A, AAAA = 1, 28
lost = set()


def answer(question, by):
    number, flags, count = struct.unpack("!HHH", question[:6])
    labels, at = [], 12
    while size := question[at]:
        labels.append(question[at + 1:at + 1 + size].decode("latin-1"))
        at += 1 + size
    kind = struct.unpack("!H", question[at + 1:at + 3])[0]
    name = ".".join(labels).lower()
    print(by, name, {A: "A", AAAA: "AAAA"}.get(kind, kind), flush=True)
    if name == "lost.example" and by == "udp" and kind not in lost:
        lost.add(kind)
        return None
    texts = NAMES.get(name)
    data = [ipaddress.ip_address(text).packed for text in texts or []]
    data = [address for address in data if len(address) == {A: 4, AAAA: 16}.get(kind)]
    too_long = by == "udp" and len(data) > 20
    if too_long:
        data = []
    head = struct.pack("!HHHHHH", number, 0x8180 | (0x200 if too_long else 0) | (3 if texts is None else 0), 1, len(data), 0, 0)
    return head + question[12:at + 5] + b"".join(struct.pack("!HHHIH", 0xc00c, kind, 1, 60, len(one)) + one for one in data)


def stream(connection):
    with connection, connection.makefile("rb") as questions:
        while len(size := questions.read(2)) == 2:
            said = answer(questions.read(struct.unpack("!H", size)[0]), "tcp")
            connection.sendall(struct.pack("!H", len(said)) + said)


def streams():
    server = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=50)
    while True:
        threading.Thread(target=stream, args=(server.accept()[0],), daemon=True).start()


threading.Thread(target=streams, daemon=True).start()
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind((sys.argv[1], int(sys.argv[2])))
while True:
    asked, sender = udp.recvfrom(2000)
    said = answer(asked, "udp")
    if said:
        udp.sendto(said, sender)
