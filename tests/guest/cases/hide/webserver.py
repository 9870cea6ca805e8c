# The other host of curl.case: GET gives 3000000 bytes; PUT and POST answer whether these came back, be it as a part of a form.
# webserver.py ADDRESS PORT
import http.server, sys

CONTENT = bytes(i * i * 7 // 3 % 256 for i in range(3000000))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, content):
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers["Content-Length"]))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def do_GET(self):
        self.answer(CONTENT)

    def do_PUT(self):
        body = self.body()
        same = "same" if body == CONTENT else "contained" if CONTENT in body else "other"
        self.answer(f"{self.command} {self.path}: {same}\n".encode())

    do_POST = do_PUT


http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
