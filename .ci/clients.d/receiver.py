"""Somewhere on this machine that notifications are sent to."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from report import eventually


class Receiver:
    def __init__(self):
        received = self.received = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                length = int(self.headers.get("Content-Length", -1))
                body = self.rfile.read(max(length, 0))
                received.append((self.path, length, body, self.headers))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_port}/notify"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def of(self, channel):
        """What one channel has said so far."""
        return [message for message in self.received if message[3]["X-Goog-Channel-ID"] == channel]

    def wait(self, channel, count):
        """What one channel has said, once it is so much."""
        wanted = lambda: len(self.of(channel)) >= count and self.of(channel)
        return eventually(f"notification number {count} of {channel}", wanted)

    def close(self):
        self.server.shutdown()
        self.server.server_close()
