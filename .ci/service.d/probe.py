"""Tries, inside the container, what a line of the unit forbids: probe.py NAME. Prints `done`, or why not."""

import ctypes
import mmap
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
# As in <sched.h>, <sys/personality.h>, <sys/shm.h>.
CLONE_NEWUSER, PER_LINUX32, PTRACE_TRACEME, IPC_CREAT = 0x10000000, 0x0008, 0, 0o1000
KEY = 4711


def call(name, *arguments):
    """A function of the C library that answers -1 when it fails."""
    answer = getattr(LIBC, name)(*arguments)
    if answer == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return answer


def in_child(action):
    """Runs in a separate process, which may end by a signal or be changed permanently."""
    child = os.fork()
    if child == 0:
        try:
            action()
        except OSError as error:
            os._exit(error.errno)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        raise OSError(0, f"ended by {signal.Signals(os.WTERMSIG(status)).name}")
    if number := os.WEXITSTATUS(status):
        raise OSError(number, os.strerror(number))


def must(holds, otherwise):
    if not holds:
        raise OSError(0, otherwise)


def foreign_call():
    """getpid() as a 32-bit program asks for it."""
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
    address = ctypes.addressof(ctypes.c_char.from_buffer(code))
    ctypes.CFUNCTYPE(ctypes.c_int)(address)()


def become_root():
    who = subprocess.run(["/usr/local/bin/id-of-root", "--user"], capture_output=True, text=True, check=True).stdout
    must(who.strip() == "0", f"it is {who.strip()}")


def scratch(name):
    """A new file where everybody may write; the unit has no /tmp of others."""
    path = Path("/dev/shm") / f"{name}-{os.getpid()}"
    path.write_text("")
    return path


def change_owner():
    os.chown(scratch("owned"), 12345, 12345)


def make_setuid():
    scratch("setuid").chmod(0o4755)


def make_group():
    controllers = Path("/sys/fs/cgroup")
    (controllers / ("systemd" if (controllers / "systemd").exists() else "") / f"proof-{os.getpid()}").mkdir()


def make_device():
    os.mknod(f"/dev/shm/device-{os.getpid()}", stat.S_IFCHR | 0o600, os.makedev(1, 3))


def mount():
    call("mount", b"none", b"/mnt/proof", b"tmpfs", 0, None)



ATTEMPTS = {
    "become_root": become_root,
    "change_owner": change_owner,
    "make_setuid": make_setuid,
    "make_device": make_device,
    "mount": mount,
    "core": lambda: must(resource.getrlimit(resource.RLIMIT_CORE)[1] != 0, "the limit is 0"),
    "world_readable": lambda: must(scratch("mode").stat().st_mode & 0o077, "only its owner can read it"),
    "read_tmp": lambda: Path("/tmp/of-somebody").read_text(),
    "attach_memory": lambda: call("shmget", KEY, 1, 0o600),
    "leave_memory": lambda: call("shmget", KEY + os.getuid(), 4096, IPC_CREAT | 0o600),
    "write_system": lambda: Path("/usr/local/proof").write_text(""),
    "write_etc": lambda: Path("/etc/proof").write_text(""),
    "write_var": lambda: Path("/var/lib/proof").write_text(""),
    "read_home": lambda: Path("/home/ann/letter").read_text(),
    "read_root_home": lambda: Path("/root", "letter").read_text(),
    "read_modules": lambda: Path("/usr/lib/modules/proof").read_text(),
    "kernel_log": lambda: must(Path("/proc/kmsg").stat().st_mode & 0o777, "it is inaccessible"),
    "kernel_tunable": lambda: os.close(os.open("/proc/mtrr", os.O_WRONLY)),
    "make_group": make_group,
    "set_hostname": lambda: socket.sethostname(socket.gethostname()),
    "see_processes": lambda: must(Path("/proc/1").exists(), "process 1 is not there"),
    "see_memory": lambda: must(Path("/proc/meminfo").exists(), "/proc/meminfo is not there"),
    "packet_socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close(),
    "netlink_socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close(),
    "new_namespace": lambda: in_child(lambda: call("unshare", CLONE_NEWUSER)),
    "real_time": lambda: in_child(lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))),
    "personality": lambda: in_child(lambda: call("personality", PER_LINUX32)),
    "write_and_execute": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC | mmap.PROT_READ).close(),
    "foreign_call": lambda: in_child(foreign_call),
    "change_root": lambda: in_child(lambda: os.chroot("/")),
    "change_priority": lambda: in_child(lambda: os.setpriority(os.PRIO_PROCESS, 0, 1)),
    "trace": lambda: in_child(lambda: call("ptrace", PTRACE_TRACEME, 0, None, None)),
}

if __name__ == "__main__":
    try:
        ATTEMPTS[sys.argv[1]]()
        print("done")
    except OSError as error:
        print(f"refused: {error.strerror or error}")
