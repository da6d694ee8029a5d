"""The file systems that destinations lie on, each made in a file or a folder of this machine."""

import os
import shutil
import subprocess
import tempfile
import time

# The name of 250 bytes, and one that Windows does not take.
LONG = "n" * 246 + ".mp4"
TALK = "12:30 talk?.mp4"


class NotHere(Exception):
    """What this machine cannot mount, and why."""


def run(*command):
    """What a command says. A file system in user space goes on after that, and would hold a pipe open."""
    with tempfile.TemporaryFile("w+") as said:
        status = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said).returncode
        said.seek(0)
        text = said.read()
    if status:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {status}: {text.strip()}")
    return text


def mount(*arguments):
    run("mount", *arguments)


def once_free(*command):
    """Somebody may still look at the disk, or write to it, for a moment."""
    for attempt in range(100):
        try:
            return run(*command)
        except RuntimeError:
            if attempt == 99:
                raise
            time.sleep(0.1)


def unmount(path):
    once_free("umount", path)


def kernel_has(kind):
    """Some kernels have it as a module."""
    def look():
        with open("/proc/filesystems") as known:
            return kind in known.read().split()

    if not look() and shutil.which("modprobe"):
        subprocess.run(["modprobe", "--quiet", kind], check=False)
    if not look():
        raise NotHere(f"the kernel of this machine has no {kind}")


class Disk:
    """Made once, attached and detached any number of times. `refuses`: names that it does not take. `projects`: folders
    can belong to a project, and nothing can be renamed to another project's folder."""

    refuses, projects = (), False

    def __init__(self, home):
        self.home, self.path = home, home / "disk"
        self.path.mkdir()
        self.make()
        self.attach()

    def make(self):
        pass

    def detach(self):
        unmount(self.path)

    def read_only(self, how="ro"):
        # The helpers of FUSE would mount it once more.
        once_free("mount", "-i", "-o", f"remount,{how}", self.path)


class Image(Disk):
    """A file system of the kernel in a file."""

    kind, size, mkfs, options = None, 64, (), "loop"

    def make(self):
        kernel_has(self.kind)
        self.image = self.home / "image"
        with open(self.image, "wb") as file:
            file.truncate(self.size << 20)
        run(*self.mkfs, self.image)

    def attach(self):
        mount("-t", self.kind, "-o", self.options, self.image, self.path)


class Ext4(Image):
    kind, mkfs = "ext4", ("mkfs.ext4", "-q")


class Xfs(Image):
    kind, size, mkfs, projects = "xfs", 320, ("mkfs.xfs", "-q"), True


class Btrfs(Image):
    kind, size, mkfs = "btrfs", 160, ("mkfs.btrfs", "-q")


class Tmpfs(Disk):
    """What is in it stays in the memory, so it is attached by another name."""

    def make(self):
        self.memory = self.home / "memory"
        self.memory.mkdir()
        mount("-t", "tmpfs", "-o", "size=100m", "none", self.memory)

    def attach(self):
        mount("--bind", self.memory, self.path)

    def read_only(self, how="ro"):
        mount("-o", f"remount,bind,{how}", self.path)


class Overlay(Disk):
    """What containers write to."""

    def make(self):
        kernel_has("overlay")
        memory = self.home / "memory"
        memory.mkdir()
        mount("-t", "tmpfs", "-o", "size=100m", "none", memory)
        for layer in ("lower/videos", "upper", "work"):
            (memory / layer).mkdir(parents=True)
        self.layers = f"lowerdir={memory}/lower,upperdir={memory}/upper,workdir={memory}/work"

    def attach(self):
        mount("-t", "overlay", "-o", self.layers, "none", self.path)


class Fuse(Disk):
    def make(self):
        if not os.path.exists("/dev/fuse"):
            kernel_has("fuse")
        self.prepare()


def on_loop(image, *command):
    """Mounts an image with a program that wants a device, which goes when the program does."""
    device = run("losetup", "--find", "--show", image).strip()
    try:
        run(*(device if word == "DEVICE" else word for word in command))
    finally:
        # At the last close: now if the program has not opened it.
        run("losetup", "--detach", device)


class Ntfs(Fuse):
    refuses = (TALK,)
    # It makes a name longer to rename over it, and 250 bytes are nearly all it has.
    keeps = (LONG,)

    def prepare(self):
        self.image = self.home / "image"
        with open(self.image, "wb") as file:
            file.truncate(100 << 20)
        run("mkfs.ntfs", "--quiet", "--fast", "--force", self.image)

    def attach(self):
        # As desktops mount it.
        run("ntfs-3g", "-o", "windows_names", self.image, self.path)


class Exfat(Fuse):
    refuses = (TALK,)

    def prepare(self):
        self.image = self.home / "image"
        with open(self.image, "wb") as file:
            file.truncate(100 << 20)
        run("mkfs.exfat", self.image)

    def attach(self):
        # As desktops mount it: everybody may do everything, and chmod changes nothing.
        on_loop(self.image, "mount.exfat-fuse", "-o", "umask=000", "DEVICE", self.path)


class Encfs(Fuse):
    """Names are longer below it, so it takes less than 255 bytes."""

    refuses = (LONG,)

    def prepare(self):
        self.below = self.home / "below"
        self.below.mkdir()

    def attach(self):
        run("encfs", "--standard", "--extpass=echo secret", self.below, self.path)


class Gocryptfs(Fuse):
    refuses = (LONG,)

    def prepare(self):
        self.below = self.home / "below"
        self.below.mkdir()
        run("gocryptfs", "-q", "-init", "-scryptn", "10", "-extpass", "echo secret", self.below)

    def attach(self):
        # Otherwise it keeps long names in files of their own.
        run("gocryptfs", "-q", "-longnames=false", "-extpass", "echo secret", self.below, self.path)


class Mergerfs(Fuse):
    """Two disks as one. As it comes, it makes a file on a disk that has the folder, and moves it to no other."""

    options = "minfreespace=0"

    def prepare(self):
        self.branches = [self.home / name for name in ("one", "two")]
        for branch, size in zip(self.branches, ("200m", "100m")):
            branch.mkdir()
            mount("-t", "tmpfs", "-o", f"size={size}", "none", branch)
        # The hidden folder comes to the one with the most room, and this folder is only on the other.
        (self.branches[0] / "videos").mkdir()
        (self.branches[1] / "videos/Trip").mkdir(parents=True)

    def attach(self):
        run("mergerfs", "-o", self.options, ":".join(map(str, self.branches)), self.path)


class MergerfsByPath(Mergerfs):
    """An inode number is made of the path, so that it changes with every rename."""

    options = "minfreespace=0,category.create=rand,inodecalc=path-hash"


DISKS = {
    "ext4": Ext4,
    "xfs": Xfs,
    "btrfs": Btrfs,
    "tmpfs": Tmpfs,
    "overlay": Overlay,
    "ntfs-3g": Ntfs,
    "exfat": Exfat,
    "encfs": Encfs,
    "gocryptfs": Gocryptfs,
    "mergerfs": Mergerfs,
    "mergerfs-by-path": MergerfsByPath,
}
