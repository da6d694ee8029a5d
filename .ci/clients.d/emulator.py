"""The emulator as a process, and its control interface."""

import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request

from report import eventually


class Emulator:
    def __init__(self, binary, home):
        self.credentials = home / "credentials"
        self.ca = home / "authority.pem"
        said = home / "said"
        with open(said, "w") as out:
            self.process = subprocess.Popen(
                [
                    binary, "--port", "0", "--credentials-dir", self.credentials,
                    "--tls-cert", home / "cert.pem", "--tls-key", home / "key.pem", "--tls-port", "0",
                ],
                stdout=out,
            )
        try:
            eventually("emulator", lambda: self._is_ready(said), 30)
        except BaseException:
            self.stop()
            raise
        facts = dict(line.split(": ", 1) for line in said.read_text().splitlines())
        self.url, self.root = facts["address"], facts["root"]
        self.tls_port = urllib.parse.urlsplit(facts["tls-address"]).port

    def _is_ready(self, said):
        if self.process.poll() is not None:
            raise RuntimeError(f"the emulator ended with {self.process.returncode}")
        return "ready: yes" in said.read_text()

    def stop(self):
        """Its exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def credential(self, name):
        return json.loads((self.credentials / name).read_text())

    def control(self, method, path, body=None, **query):
        url = f"{self.url}/control/{path}"
        if query:
            url += "?" + urllib.parse.urlencode(query)
        raw = isinstance(body, bytes)
        data = body if raw or body is None else json.dumps(body).encode()
        kind = "application/octet-stream" if raw else "application/json"
        request = urllib.request.Request(url, data, {"content-type": kind}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {path}: {error.code} {error.read()!r}") from error

    def upload(self, name, content, parent=None, **query):
        """`content` is bytes, or what the control interface makes a content of."""
        return self.control("POST", "files", content, name=name, parent=parent or self.root, **query)

    def folder(self, name, parent=None):
        return self.control("POST", "folders", {"name": name, "parent": parent or self.root})["id"]

    def fault(self, operation, action, times=1, **matching):
        matching = {"operation": operation, **matching}
        self.control("POST", "faults", {"matching": matching, "times": times, "action": action})

    def requests(self, operation=None):
        query = {"operation": operation} if operation else {}
        return self.control("GET", "requests", **query)["requests"]


def pattern(seed, size):
    """A content that costs no memory."""
    return {"pattern": {"seed": seed, "size": size}}


def status(code, reason):
    """A fault's action: Google's JSON error."""
    return {"status": {"code": code, "reason": reason, "message": None, "retryAfter": None}}
