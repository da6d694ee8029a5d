"""A proxy that takes Google's names to the emulator: what a hosts file would do, without touching one."""

import socket
import threading


class Tunnel:
    def __init__(self, port):
        self.port = port
        # What was asked for, and what was shown with it.
        self.wanted, self.shown = [], set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "http://127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        head = b""
        while b"\r\n\r\n" not in head:
            more = client.recv(4096)
            if not more or len(head) > 65536:
                client.close()
                return
            head += more
        first, *headers = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        for name, _, value in (header.partition(": ") for header in headers):
            if name.lower() == "proxy-authorization":
                self.shown.add(value)
        self.wanted.append(f"{method} {target}")
        if method != "CONNECT" or not target.endswith(".googleapis.com:443"):
            client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            client.close()
            return
        server = socket.create_connection(("127.0.0.1", self.port))
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        for source, sink in ((client, server), (server, client)):
            threading.Thread(target=_pour, args=(source, sink), daemon=True).start()

    def close(self):
        self.listener.close()


def _pour(source, sink):
    buffer = memoryview(bytearray(1 << 18))
    try:
        while True:
            count = source.recv_into(buffer)
            if not count:
                break
            sink.sendall(buffer[:count])
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        # One end is gone; the other is told.
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
