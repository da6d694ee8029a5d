"""Other commands for the engine, and the clean-up at the end."""

import json
import re
import subprocess


def docker(*arguments, check=True):
    done = subprocess.run(["docker", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if check and done.returncode:
        raise RuntimeError(f"docker {' '.join(arguments)}: {done.stdout}")
    return done.stdout.strip()


def images():
    return set(docker("images", "--all", "--quiet", "--no-trunc").split())


def remove_images(before):
    """All images made since. A parent can only be removed after its children."""
    left = images() - before
    while left:
        docker("rmi", "--force", *left, check=False)
        still = images() - before
        if still == left:
            return left
        left = still
    return left


class Container:
    def __init__(self, project, service):
        self.filter = [f"label=com.docker.compose.project={project}", f"label=com.docker.compose.service={service}"]

    def id(self):
        filters = [part for label in self.filter for part in ("--filter", label)]
        return docker("ps", "--all", "--quiet", *filters).split()[0]

    def state(self):
        return json.loads(docker("inspect", self.id()))[0]

    def health(self):
        return self.state()["State"].get("Health", {}).get("Status")

    def pid(self):
        """For a container that does not run it would be 0, which means every process."""
        pid = self.state()["State"]["Pid"]
        if not pid:
            raise RuntimeError(f"the container does not run: {self.log()[-2000:]}")
        return pid

    def log(self):
        return docker("logs", self.id())

    def tell(self, *arguments):
        return docker("exec", self.id(), "/usr/bin/gdrive-webhook", *arguments, check=False)


def steps(output):
    """Each step of a classic build: its line, and whether it came from the cache."""
    output = re.sub(r"\x1b\[[0-9;]*m", "", output)
    parts = re.split(r"^Step \d+/\d+ : ", output, flags=re.M)[1:]
    return [(part.splitlines()[0], "---> Using cache" in part, part) for part in parts]
