"""The emulated Drive outside the containers, with TLS and an authority of its own."""

import http.client
import json
import urllib.parse
import urllib.request

import world

NAME = "drive.example"


class Drive(world.Emulator):
    def __init__(self, binary, home):
        said = home / "emulator-said"
        self.credentials = home / "credentials"
        command = [binary, "--host", "0.0.0.0", "--port", "0", "--tls", "--tls-name", NAME, "--folder", "Inbox"]
        with open(said, "w") as out:
            world.Process.__init__(self, [*command, "--credentials-dir", self.credentials], stdout=out)
        world.eventually("emulator", lambda: self.check() or "ready: yes" in said.read_text())
        facts = dict(line.split(": ", 1) for line in said.read_text().splitlines())
        self.url, self.tls = facts["address"], facts["tls-address"]
        self.inbox = facts["folder"].split()[0]

    def notifications(self):
        with world.HTTP.open(f"{self.url}/control/notifications", timeout=30) as answer:
            return json.load(answer)["notifications"]

    def consent(self, address):
        """Where the browser of a user who allows the access ends."""
        asked = urllib.parse.urlsplit(address)
        plain = http.client.HTTPConnection(urllib.parse.urlsplit(self.url).netloc, timeout=30)
        plain.request("GET", f"{asked.path}?{asked.query}")
        return plain.getresponse().headers["location"]
