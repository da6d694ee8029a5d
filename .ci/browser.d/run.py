"""`login` and a real browser: run.py DAEMON EMULATOR DIRECTORY."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path

from report import Report, eventually
from selenium import webdriver
from selenium.webdriver.common.by import By


class Emulator:
    """The emulator as a process, whose consent page has buttons."""

    def __init__(self, binary, home):
        self.credentials = home / "credentials"
        said = home / "said"
        with open(said, "w") as out:
            command = [binary, "--port", "0", "--credentials-dir", self.credentials, "--folder", "Inbox"]
            self.process = subprocess.Popen(command, stdout=out)
        try:
            eventually("emulator", lambda: self._is_ready(said), 30)
        except BaseException:
            self.stop()
            raise
        facts = dict(line.split(": ", 1) for line in said.read_text().splitlines())
        self.url, self.inbox = facts["address"], facts["folder"].split()[0]
        self.control("consent", {"asks": True})

    def _is_ready(self, said):
        if self.process.poll() is not None:
            raise RuntimeError(f"the emulator ended with {self.process.returncode}")
        return "ready: yes" in said.read_text()

    def control(self, path, body):
        request = urllib.request.Request(f"{self.url}/control/{path}", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=30) as answer:
            answer.read()

    def stop(self):
        self.process.terminate()
        self.process.wait(10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Login:
    """`login` as a process, and what it prints."""

    def __init__(self, binary, home, *arguments, **variables):
        home.mkdir(exist_ok=True)
        self.token, self.said = home / "token.json", home / "said"
        environment = {"PATH": os.environ["PATH"], "HOME": str(home), **variables}
        with open(self.said, "w") as out:
            self.process = subprocess.Popen(
                [binary, "--config", home / "gdrive-webhook.toml", "login", *arguments],
                stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT, env=environment, cwd=home, text=True,
            )  # fmt: skip
        self.address = eventually("address", self._address, 30)

    def _address(self):
        lines = self.said.read_text().splitlines(keepends=True)
        return next((line.strip() for line in lines if line.startswith("http") and line.endswith("\n")), None)

    def paste(self, line):
        """Nobody reads it when another answer came first."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(f"{line}\n")
            self.process.stdin.flush()

    def ended(self):
        """The exit code, and everything printed."""
        code = self.process.wait(60)
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        return code, self.said.read_text()


class World:
    def __init__(self, report, browser, emulator, binary, home):
        self.report, self.browser, self.emulator = report, browser, emulator
        self.binary, self.home, self.count = binary, home, 0

    def login(self, *arguments, **variables):
        """A new home each time, so that a token is one of this login."""
        self.count += 1
        home = self.home / f"login-{self.count}"
        home.mkdir()
        (home / "gdrive-webhook.toml").write_text(
            f"[google]\n"
            f'credentials = "{self.emulator.credentials}/client.json"\n'
            f'api_url = "{self.emulator.url}"\n'
            f'[[folder]]\nid = "{self.emulator.inbox}"\ndestination = "videos"\n'
        )
        return Login(self.binary, home, *arguments, **variables)

    def press(self, button):
        self.browser.find_element(By.ID, button).click()

    def shows(self, expected):
        """Waits for a page of `login` with this title."""
        try:
            eventually(expected, lambda: self.browser.title == f"{expected} - gdrive-webhook", 20)
        except TimeoutError:
            self.report.true(f"the browser shows {expected!r}", False, (self.browser.title, self.browser.current_url))
        else:
            self.report.true(f"the browser shows {expected!r}", True)

    def stored(self, login):
        code, said = login.ended()
        self.report.equal("login ends with 0", code, 0)
        self.report.true("it says who has logged in", "Logged in as " in said, said)
        self.report.true("and which folder it sees", f"Inbox ({self.emulator.inbox})" in said, said)
        self.report.equal("the token is stored", login.token.exists(), True)


def allowed(world):
    login = world.login()
    world.browser.get(login.address)
    world.press("allow")
    world.shows("Logged in")
    world.stored(login)
    world.report.true("the page has nothing to load", not errors(world.browser), errors(world.browser))


def errors(browser):
    """What the browser complains about. It always asks for an icon."""
    return [line for line in browser.get_log("browser") if "favicon" not in line["message"]]


def denied(world):
    login = world.login()
    world.browser.get(login.address)
    world.press("deny")
    world.shows("Access denied")
    code, said = login.ended()
    world.report.equal("login ends with 1", code, 1)
    world.report.true("it says that the access was denied", "the access was denied on Google's page" in said, said)
    world.report.equal("no token is stored", login.token.exists(), False)


def pasted(world):
    """The browser is on another machine: there, nobody listens at the callback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    login = world.login("--no-browser", "--listen", f"127.0.0.2:{port}")
    world.browser.get(login.address)
    world.press("allow")
    # Chromium keeps the address in its bar.
    address = eventually("address with a code", lambda: with_code(world.browser), 20)
    login.paste(login.address)
    eventually(
        "sentence about the wrong address", lambda: "That is the address to open" in login.said.read_text(), 20
    )
    world.report.true("the wrong address is told", True)
    login.paste(address)
    world.stored(login)


def with_code(browser):
    address = browser.current_url
    return address if "code=" in address and address.startswith("http://127.0.0.1") else None


def both(world):
    """The same address is called and pasted. Whichever comes first, the login succeeds once."""
    login = world.login()
    world.browser.get(login.address)
    world.press("allow")
    address = eventually("address with a code", lambda: with_code(world.browser), 20)
    login.paste(address)
    world.shows("Logged in")
    world.stored(login)


def reloaded(world):
    """Someone goes back to the address of a login that is over, and someone else's address comes in between."""
    former = world.browser.current_url
    login = world.login()
    stray = former.split("?")[1]
    callback = urllib.parse.parse_qs(urllib.parse.urlsplit(login.address).query)["redirect_uri"][0]
    world.browser.get(f"{callback}/?{stray}")
    world.shows("Not an answer")
    world.browser.get(login.address)
    world.press("allow")
    world.shows("Logged in")
    world.stored(login)


def opened(world):
    """`login` starts the browser by itself."""
    asked = world.home / "asked"
    opener = world.home / "opener"
    opener.write_text(f'#!/bin/sh\nprintf %s "$1" > "{asked}.new" && mv "{asked}.new" "{asked}"\n')
    opener.chmod(0o755)
    login = world.login(BROWSER=str(opener))
    eventually("browser that is opened", asked.exists, 20)
    world.report.equal("the browser is opened with the address", asked.read_text(), login.address)
    world.browser.get(asked.read_text())
    world.press("allow")
    world.shows("Logged in")
    world.stored(login)


def chromium(home):
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    # Root has no sandbox, and a container may have a small /dev/shm.
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-proxy-server"):
        options.add_argument(argument)
    options.add_argument(f"--user-data-dir={home}/profile")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options, webdriver.ChromeService("/usr/bin/chromedriver"))


def main():
    daemon, emulator_binary, home = (Path(argument) for argument in sys.argv[1:4])
    # It would download a driver of its own.
    os.environ["SE_OFFLINE"] = "true"
    report = Report()
    with Emulator(emulator_binary, home) as emulator:
        browser = chromium(home)
        try:
            world = World(report, browser, emulator, daemon, home)
            for part in (allowed, denied, pasted, both, reloaded, opened):
                with report.part(part.__name__):
                    part(world)
        finally:
            browser.quit()
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
