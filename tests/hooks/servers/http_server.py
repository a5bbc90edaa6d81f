"""A server that answers hooks by HTTP, as behaviour.py says. Only what Python brings along.

    python3 http_server.py RECORD [--port PORT] [--certificate PEM --key PEM [--client-ca PEM]] [--signing-key TEXT]

It prints `listening on http://127.0.0.1:PORT/` when it is ready. With a signing key it refuses calls that are not signed
with that, or not within the last five minutes, by 401.
"""

import argparse
import hashlib
import hmac
import json
import socket
import ssl
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import behaviour

ARGUMENTS = argparse.ArgumentParser()
ARGUMENTS.add_argument("record")
ARGUMENTS.add_argument("--port", type=int, default=0)
ARGUMENTS.add_argument("--certificate")
ARGUMENTS.add_argument("--key")
ARGUMENTS.add_argument("--client-ca")
ARGUMENTS.add_argument("--signing-key")
SIGNATURE_SECONDS = 300


class Handler(BaseHTTPRequestHandler):
    """Answers calls."""

    protocol_version = "HTTP/1.1"
    # A connection on which nothing comes any more.
    timeout = 60

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.signing_key and not self.is_signed(body):
            self.answer(401, b"not signed\n", "text/plain")
            return
        call = json.loads(body)
        fields = {}
        for name, value in self.headers.items():
            fields.setdefault(name.lower(), []).append(value)
        with self.server.turn:
            attempt = self.server.record.add("http", self.headers["X-Wharf-Event-Id"], fields, call)
        self.act(call["Type"], attempt, *behaviour.wish(call))

    def act(self, kind, attempt, action, argument):
        """Does what an upload wishes."""
        if action == "flaky":
            if attempt <= int(argument or 1):
                self.answer(503, b"not yet\n", "text/plain")
                return
            action = "ok"
        answer = behaviour.verdict(kind, action, argument)
        if answer is not None:
            self.answer(200, json.dumps(answer).encode())
        elif action == "fail":
            self.answer(500, (argument or "it failed").encode(), "text/plain")
        elif action == "nonsense":
            self.answer(200, b"<html>hello</html>")
        elif action == "huge":
            self.huge()
        elif action == "hang":
            # Until the other end gives up.
            self.connection.settimeout(None)
            self.connection.recv(1)
            self.close_connection = True
        elif action == "die":
            # Closed at once, so that the other end gets a reset.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True

    def huge(self):
        try:
            self.answer(200, json.dumps({"pad": "x" * behaviour.HUGE}).encode())
        except OSError:
            # That nobody wants so much is what is expected.
            self.close_connection = True

    def answer(self, status, body, kind="application/json"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def is_signed(self, body):
        """Whether who calls has the key, as the documentation of wharf's hooks says to look after."""
        event_id = self.headers.get("X-Wharf-Event-Id", "")
        timestamp = self.headers.get("X-Wharf-Timestamp", "")
        if not timestamp.isdigit() or abs(time.time() - int(timestamp)) > SIGNATURE_SECONDS:
            return False
        signed = f"{event_id}.{timestamp}.".encode() + body
        expected = "sha256=" + hmac.new(self.server.signing_key, signed, hashlib.sha256).hexdigest()
        return hmac.compare_digest(expected, self.headers.get("X-Wharf-Signature", ""))

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    """A thread for each connection."""

    daemon_threads = True

    def __init__(self, arguments):
        super().__init__(("127.0.0.1", arguments.port), Handler)
        self.record = behaviour.Record(arguments.record)
        self.turn = threading.Lock()
        self.signing_key = (arguments.signing_key or "").encode()
        self.tls = None
        if arguments.certificate:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(arguments.certificate, arguments.key)
            if arguments.client_ca:
                self.tls.load_verify_locations(arguments.client_ca)
                self.tls.verify_mode = ssl.CERT_REQUIRED

    def finish_request(self, request, client_address):
        # Here, and not where connections are accepted, so that a slow handshake holds up nobody.
        if self.tls:
            try:
                request = self.tls.wrap_socket(request, server_side=True)
            except (ssl.SSLError, OSError):
                return
        super().finish_request(request, client_address)

    def handle_error(self, request, client_address):
        # Connections that end in the midst are part of the tests.
        pass


def main():
    server = Server(ARGUMENTS.parse_args())
    scheme = "https" if server.tls else "http"
    print(f"listening on {scheme}://127.0.0.1:{server.server_address[1]}/", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
