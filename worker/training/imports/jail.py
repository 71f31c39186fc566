"""Runs a command that sees a Python, the system's libraries and one directory, and nothing else of this machine.

    unshare --map-root-user --mount … python -I jail.py DIRECTORY PYTHON [ARGUMENT …]

A network namespace does not block Unix sockets, and a mount over a directory can be undone
by the process that mounted it. So the root is replaced, everything visible but the directory is read-only, the
old root is unmounted before the command runs, and the command has no right to mount.
"""

import ctypes
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 8, 4096, 16384, 1 << 18
MNT_DETACH = 2
MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE = 442, -100, 0x8000
"""The number of the system call, the same on every machine of 64 bits; the C library of many systems lacks its name."""

READ_ONLY = (ctypes.c_uint64 * 4)(1 | 2 | 4, 0, 0, 0)
"""Read-only, without set-user-id bits or devices: `struct mount_attr`."""

PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38

SYSTEM = ("/usr", "/lib", "/lib64", "/lib32", "/bin", "/sbin", "/nix/store", "/gnu/store")
SETTINGS = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime")
"""Files of /etc: for the loader of libraries, and the time zone."""

DEVICES = ("null", "zero", "random", "urandom")

ASK = (
    "import json, sys; print(json.dumps([sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix, "
    "*[each for each in sys.path if each.endswith(('site-packages', 'dist-packages'))]]))"
)
"""The command that lists a Python's own directories; packages elsewhere are not visible."""

SMALL = "size=1m,mode=755"
MOST_PROCESSES = 256
"""Processes and threads beyond the user's present ones: libraries start a few for each core."""

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Enters the jail and executes the command; exits with the error where it cannot."""
    work, *command = sys.argv[1:]
    asked = subprocess.run([command[0], "-I", "-c", ASK], check=True, capture_output=True, text=True)
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    processes = _processes()
    _enter(work, [*json.loads(asked.stdout), *libraries])
    resource.setrlimit(resource.RLIMIT_NPROC, (processes + MOST_PROCESSES,) * 2)
    _give_up_rights()
    os.execv(command[0], command)  # noqa: S606  # as everything here: from words of our own


def _enter(work: str, paths: Iterable[str]) -> None:
    _mount("none", "/", None, MS_REC | MS_PRIVATE)
    root = Path(work) / "root"
    root.mkdir()
    _mount("tmpfs", str(root), "tmpfs", MS_NOSUID, SMALL)
    for each in SYSTEM:
        _show_system(root, Path(each))
    for each in SETTINGS:
        if Path("/etc", each).exists():
            _show(root, f"/etc/{each}")
    for path in sorted({each for given in map(Path, paths) if given.is_dir() for each in (given, given.resolve())}):
        # a path inside another is visible already; a root would be everything
        if path.is_absolute() and not Path(f"{root}{path}").exists():
            _show(root, str(path))
    for each in DEVICES:
        _show(root, f"/dev/{each}", writable=True)
    for each in ("dev/shm", "tmp", "proc"):
        (root / each).mkdir(exist_ok=True, parents=True)
    # where the system does not allow it, there is none; writable, root without any right could set the kernel by it, as
    # to the program that it runs as root after a crash (core_pattern)
    with suppress(OSError):
        _mount("proc", str(root / "proc"), "proc", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)
    _show(root, work, writable=True)
    os.chdir(root)
    _call("pivot_root", b".", b".")
    _call("umount2", b".", MNT_DETACH)
    os.chdir(work)


def _show_system(root: Path, path: Path) -> None:
    if path.is_symlink():
        (root / path.name).symlink_to(path.readlink())
    elif path.is_dir():
        _show(root, str(path))


def _show(root: Path, path: str, *, writable: bool = False) -> None:
    place = Path(f"{root}{path}")
    if Path(path).is_dir():
        place.mkdir(parents=True, exist_ok=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    _mount(path, str(place), None, MS_BIND if writable else MS_BIND | MS_REC)
    if not writable:
        _call(
            "syscall",
            *(ctypes.c_long(MOUNT_SETATTR), AT_FDCWD, os.fsencode(place), AT_RECURSIVE),
            *(ctypes.byref(READ_ONLY), ctypes.c_size_t(ctypes.sizeof(READ_ONLY))),
        )


def _mount(what: str, where: str, kind: str | None, flags: int, options: str = "") -> None:
    words = (os.fsencode(what), os.fsencode(where), None if kind is None else kind.encode())
    _call("mount", *words, ctypes.c_ulong(flags), options.encode())


def _give_up_rights() -> None:
    """Drops all privileges, also those that executing another program could restore."""
    with suppress(OSError):  # there is no right of this number
        for right in range(64):
            _call("prctl", PR_CAPBSET_DROP, right, 0, 0, 0)
    _call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _processes() -> int:
    """The visible processes and threads of this user; older systems count them all."""
    found = 0
    for each in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if each.stat().st_uid == os.getuid():
                found += len(list((each / "task").iterdir()))
    return found


if __name__ == "__main__":
    main()
