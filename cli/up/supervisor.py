"""Keeps child processes running: starts them, says which died and why, starts them again, stops them in order."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from riskline.shared.errors import InstallationError

TETHER = Path(__file__).with_name("tether.py")

FIRST_RESTART_SECONDS = 0.25
LONGEST_RESTART_SECONDS = 30.0
LONGEST_PROVEN_RESTART_SECONDS = 2.0
"""For a child that has worked before: the cause of its ends may stop at any time, and transactions wait for it."""

STEADY_SECONDS = 30.0
"""A child that ran this long had started well: its next restart is prompt again."""

START_ATTEMPTS = 5
"""Deaths of a child that never got going after which `up` gives up: the cause is a setting, not an accident."""

OWN_MESSAGE = "its own message stands above"

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(kw_only=True)
class Child:
    """A process that should run, and how often it has not."""

    name: str
    command: Sequence[str]
    environment: dict[str, str] | None = None
    stop_seconds: float = 15.0
    """The time that it has to finish its work before it is killed."""
    interruptible: bool = False
    """True for a child that gets Ctrl-C with its own children: a user at a terminal waits for no load balancer."""
    orphaned_signal: signal.Signals = signal.SIGTERM
    """The signal that it gets when this process is killed."""
    complaint: str = OWN_MESSAGE
    """Where to read why it ended."""
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    restart_at: float | None = None
    deaths: int = 0
    proven: bool = False
    """Whether it was ever seen to work."""

    def start(self) -> None:
        """Starts the process in a session of its own: a terminal's Ctrl-C reaches this process only."""
        python = [sys.executable, "-I", "-S", str(TETHER)]
        self.process = subprocess.Popen(
            [*python, str(os.getpid()), str(self.orphaned_signal.value), *self.command],
            stdin=subprocess.DEVNULL,
            env=self.environment,
            start_new_session=True,
        )
        self.started_at, self.restart_at = time.monotonic(), None

    @property
    def pid(self) -> int:
        """The process's id; 0 while none runs."""
        return self.process.pid if self.process is not None else 0

    def exit_status(self) -> str | None:
        """The end of the process, in words; None while it runs."""
        code = None if self.process is None else self.process.poll()
        if code is None:
            return None
        if code < 0:
            name = signal.Signals(-code).name
            return f"killed by {name}{', a batch hung' if -code == signal.SIGPROF else ''}"
        return f"exit code {code}"

    def signal(self, wanted: signal.Signals) -> None:
        """Sends a signal to the process, which passes it on to its own children."""
        if self.process is not None:
            self.process.send_signal(wanted)

    def stop(self, *, interrupted: bool) -> None:
        """Asks the process to stop, by a Ctrl-C or by any other reason."""
        if interrupted and self.interruptible and self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGINT)
        else:
            self.signal(signal.SIGTERM)

    def kill_group(self) -> None:
        """Kills the process and its own children, where they still run."""
        if self.process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@dataclass(kw_only=True)
class Supervisor:
    """Runs stages of children; each stage needs the ones before it and is stopped before them."""

    say: Callable[[str], None]
    changed: Callable[[], None] = lambda: None
    """Called after a child was started again and has a new process id."""
    stages: list[list[Child]] = field(default_factory=list)
    stop_requests: int = 0
    interrupted: bool = False
    """Whether the first request was a Ctrl-C."""
    hurried: bool = False
    """A second Ctrl-C: no more waiting."""
    _wakeup: int = -1

    def start(self, *children: Child) -> None:
        """Starts the children as the next stage."""
        self.stages.append(list(children))
        for child in children:
            child.start()

    def children(self) -> Iterator[Child]:
        """All children, in the order of their start."""
        for stage in self.stages:
            yield from stage

    @contextmanager
    def running(self) -> Iterator[None]:
        """Takes the signals; stops every child on the way out, whatever the reason."""
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        os.set_blocking(reading, False)
        # what nohup has set to be ignored stays so
        wanted = [number for number in STOP_SIGNALS if number != signal.SIGHUP or _heeded(number)]
        before = {number: signal.signal(number, self._request_stop) for number in wanted}
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        self._wakeup = reading
        try:
            yield
        finally:
            self._stop_all()
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(reading)
            os.close(writing)

    def _request_stop(self, number: int, _frame: FrameType | None) -> None:
        if self.stop_requests == 0:
            self.interrupted = number == signal.SIGINT
        self.hurried = number == signal.SIGINT and self.stop_requests > 0
        self.stop_requests += 1

    def watch(self, *, until: Callable[[], bool] = lambda: False, poll_seconds: float = 5.0) -> bool:
        """Restarts what dies until asked to stop (False) or until `until` holds (True), looked at every poll.

        Raises:
            InstallationError: a child died again and again without ever getting going.
        """
        while not self.stop_requests:
            self._restart_the_dead()
            if until():
                return True
            self._sleep(poll_seconds)
        return False

    def _restart_the_dead(self) -> None:
        now = time.monotonic()
        for child in self.children():
            if child.restart_at is not None and child.restart_at <= now:
                child.start()
                self.changed()
            elif child.restart_at is None and child.exit_status() is not None:
                self._plan_restart(child, now)

    def _plan_restart(self, child: Child, now: float) -> None:
        if now - child.started_at > STEADY_SECONDS:
            child.deaths = 0
        child.deaths += 1
        why = child.exit_status()
        pid = child.pid
        child.kill_group()
        if child.deaths >= START_ATTEMPTS and not child.proven:
            raise InstallationError(
                f"{child.name} ended {child.deaths} times soon after its start ({why}); {child.complaint}"
            )
        longest = LONGEST_PROVEN_RESTART_SECONDS if child.proven else LONGEST_RESTART_SECONDS
        delay = min(FIRST_RESTART_SECONDS * 2 ** (child.deaths - 1), longest)
        child.restart_at = now + delay
        where = "" if child.complaint == OWN_MESSAGE else f" ({child.complaint})"
        self.say(f"{child.name} (pid {pid}) ended: {why}{where}; starting it again in {delay:g} s")

    def note_all_work(self) -> None:
        """Says that every child was seen to work: from now on a death is an accident and the restarts never end."""
        for child in self.children():
            child.proven = True

    def _sleep(self, seconds: float) -> None:
        due = [child.restart_at - time.monotonic() for child in self.children() if child.restart_at is not None]
        self._wait_for_signal(max(0.0, min([seconds, *due])))

    def _wait_for_signal(self, seconds: float) -> None:
        ready, _, _ = select.select([self._wakeup], [], [], seconds)
        if ready:
            os.read(self._wakeup, 4096)

    def _stop_all(self) -> None:
        for stage in reversed(self.stages):
            for child in stage:
                if child.exit_status() is None:
                    child.stop(interrupted=self.interrupted)
            for child in stage:
                deadline = time.monotonic() + child.stop_seconds
                while child.process is not None and child.exit_status() is None:
                    left = deadline - time.monotonic()
                    if left <= 0 or self.hurried:
                        self.say(f"{child.name} (pid {child.pid}) is killed: it did not stop in time")
                        break
                    self._wait_for_signal(min(left, 1.0))
                child.kill_group()
        self.stages.clear()


def _heeded(number: signal.Signals) -> bool:
    return signal.getsignal(number) != signal.SIG_IGN
